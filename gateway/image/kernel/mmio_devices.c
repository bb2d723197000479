// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Tells Linux of virtio devices that only its command line names: insmod mmio_devices.ko device=4K@0xd0000000:5 device=...
 *
 * A Nitro enclave has neither ACPI nor PCI: its hypervisor names its devices as virtio_mmio.device=SIZE@ADDRESS:IRQ. Debian's kernel has the
 * driver for them, but was built without the part of it that reads these names (CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES). This is that part.
 */
#include <linux/ioport.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>

static int add_device(const char *text, const struct kernel_param *param)
{
	static int count;
	unsigned long long start, size;
	unsigned int irq;
	char *rest;

	size = memparse(text, &rest);
	if (size == 0 || sscanf(rest, "@%lli:%u", &start, &irq) != 2 || start + size < start)
		return -EINVAL;
	struct resource resources[] = {
		DEFINE_RES_MEM(start, size),
		DEFINE_RES_IRQ(irq),
	};
	return PTR_ERR_OR_ZERO(platform_device_register_simple("virtio-mmio", count++, resources, ARRAY_SIZE(resources)));
}

static const struct kernel_param_ops device_ops = { .set = add_device };
module_param_cb(device, &device_ops, NULL, 0);
MODULE_PARM_DESC(device, "SIZE@ADDRESS:IRQ of a virtio device; may be given several times");
MODULE_DESCRIPTION("virtio devices that the kernel's command line names");
MODULE_LICENSE("Dual MIT/GPL");

/**
 * The device of the Nitro Secure Module: one ioctl (Linux, include/uapi/linux/nsm.h) that carries a request and brings an answer.
 *
 *   struct { u64 address; u64 length; } request, response;      32 bytes; the driver writes the response's true length back
 *
 * Node has no ioctl, so libc's is called through koffi, an optional dependency that nothing but this driver loads.
 * @module
 */
import { closeSync, openSync } from 'node:fs'
import { AppError } from '../appError.ts'
import { AttesterError } from './attester.ts'

/** What the attester needs of a module: bytes out, bytes back. */
export interface NsmDevice {
  /** Sends one request and answers the module's response. Throws `AttesterError`. */
  exchange(request: Uint8Array): Promise<Uint8Array> | Uint8Array
  close(): void
}

export const NSM_DEVICE_PATH = '/dev/nsm'
/** What the driver takes and gives at most. */
export const NSM_REQUEST_BYTES_MAX = 0x1000
export const NSM_RESPONSE_BYTES_MAX = 0x3000
/** _IOWR(0x0A, 0, 32 bytes). */
export const NSM_IOCTL_RAW = 0xc020_0a00

/**
 * Opens the module's device. The call is synchronous inside: a document takes milliseconds and is made once an hour.
 * Throws `AppError`: `MISSING_TOOL` without koffi, `BAD_CONFIG` without the device.
 */
export async function openNsmDevice(path: string = NSM_DEVICE_PATH): Promise<NsmDevice> {
  const native = await loadNative()
  const fd = openDevice(path)
  return {
    exchange: (request) => exchangeNsm(request, native.addressOf, (message) => native.ioctl(fd, message)),
    close: () => closeSync(fd),
  }
}

/**
 * One exchange. Message, request and room for the response lie in one block of memory, alive and unmoved until the response is copied
 * out of it: `addressOf` says where the block is, `call` hands its first 32 bytes to the kernel.
 * Throws `AttesterError`: `FIELD_TOO_LONG` for a request that the driver does not take, `BAD_MODULE_ANSWER` for a length beyond the room.
 */
export function exchangeNsm(
  request: Uint8Array,
  addressOf: (memory: Uint8Array) => bigint,
  call: (message: Uint8Array) => void,
): Uint8Array {
  if (request.length > NSM_REQUEST_BYTES_MAX) {
    const got = `${request.length} bytes`
    throw new AttesterError(
      'FIELD_TOO_LONG',
      `expected a request of at most ${NSM_REQUEST_BYTES_MAX} bytes, got ${got}`,
    )
  }
  const responseStart = MESSAGE_BYTES + request.length
  const memory = new Uint8Array(responseStart + NSM_RESPONSE_BYTES_MAX)
  memory.set(request, MESSAGE_BYTES)
  const address = addressOf(memory)
  // Enclaves run on x86-64 and 64-bit ARM: little-endian both.
  const message = new DataView(memory.buffer, 0, MESSAGE_BYTES)
  message.setBigUint64(0, address + BigInt(MESSAGE_BYTES), true)
  message.setBigUint64(8, BigInt(request.length), true)
  message.setBigUint64(16, address + BigInt(responseStart), true)
  message.setBigUint64(RESPONSE_LENGTH_AT, BigInt(NSM_RESPONSE_BYTES_MAX), true)
  call(memory)
  const length = message.getBigUint64(RESPONSE_LENGTH_AT, true)
  if (length > BigInt(NSM_RESPONSE_BYTES_MAX)) {
    throw new AttesterError('BAD_MODULE_ANSWER', `expected at most ${NSM_RESPONSE_BYTES_MAX} bytes, got ${length}`)
  }
  return memory.slice(responseStart, responseStart + Number(length))
}

/** The part of libc that the driver needs. */
export type NativeCalls = {
  /** Where `memory` lies in this process. */
  addressOf(memory: Uint8Array): bigint
  /** `ioctl(fd, NSM_IOCTL_RAW, memory)`. Throws `AttesterError` (`DEVICE_FAILED`) naming the errno. */
  ioctl(fd: number, memory: Uint8Array): void
}

const MESSAGE_BYTES = 32
const RESPONSE_LENGTH_AT = 24

/** Loads koffi. Throws `AppError` (`MISSING_TOOL`) where it is not installed, or not built for this machine. */
export async function loadNative(): Promise<NativeCalls> {
  let koffi: typeof import('koffi')
  try {
    koffi = await import('koffi')
  } catch (cause) {
    const message = 'the nitro attester needs the optional package koffi, which is not there: install sealpath with it'
    throw new AppError('MISSING_TOOL', message, { cause })
  }
  // The process itself brings libc, glibc or musl.
  const ioctl = koffi.load(null).func('int ioctl(int fd, unsigned long command, ...)')
  return {
    addressOf: (memory) => koffi.address(memory),
    ioctl(fd, memory) {
      const status: unknown = ioctl(fd, NSM_IOCTL_RAW, 'void *', memory)
      if (status === 0) return
      const errno = koffi.errno()
      const [name = 'unknown'] = Object.entries(koffi.os.errno).find(([, value]) => value === errno) ?? []
      throw new AttesterError('DEVICE_FAILED', `the Nitro module's device failed: ${name} (errno ${errno})`)
    },
  }
}

function openDevice(path: string): number {
  try {
    return openSync(path, 'r+')
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
    const message =
      reason === 'ENOENT'
        ? `there is no ${path}: the nitro attester works inside a Nitro enclave only`
        : `cannot open ${path} (${reason}): run the gateway as a user who may read and write it`
    throw new AppError('BAD_CONFIG', message, { cause })
  }
}

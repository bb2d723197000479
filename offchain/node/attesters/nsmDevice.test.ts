/** The driver against this machine's own kernel and memory: everything but the module itself. @module */
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as koffi from 'koffi'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import { concatBytes, encodeUtf8 } from '#protocol/bytes.ts'
import { exchangeNsm, NSM_DEVICE_PATH, NSM_IOCTL_RAW, NSM_RESPONSE_BYTES_MAX, openNsmDevice } from './nsmDevice.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-nsm-'))
afterAll(() => rmSync(folder, { recursive: true }))

const REQUEST = encodeUtf8('a request to the module')
const libc = koffi.load(null)
const addressOf = (memory: Uint8Array): bigint => koffi.address(memory)

it('uses the command number of the kernel: read and write, magic 0x0A, number 0, 32 bytes', () => {
  expect(NSM_IOCTL_RAW).toBe(((3 << 30) | (32 << 16) | (0x0a << 8) | 0) >>> 0)
})

describe('the message', () => {
  it('is two iovecs that a kernel follows: it reads the request and the room for the response', () => {
    const writev = libc.func('long writev(int fd, void *vectors, int count)')
    const path = join(folder, 'written')
    const fd = openSync(path, 'w')
    exchangeNsm(REQUEST, addressOf, (message) => {
      expect(writev(fd, message, 2)).toBe(REQUEST.length + NSM_RESPONSE_BYTES_MAX)
    })
    closeSync(fd)
    expect(new Uint8Array(readFileSync(path))).toEqual(concatBytes(REQUEST, new Uint8Array(NSM_RESPONSE_BYTES_MAX)))
  })

  it('receives in the second iovec what a kernel writes there', () => {
    const readv = libc.func('long readv(int fd, void *vectors, int count)')
    const path = join(folder, 'read')
    const content = Uint8Array.from({ length: REQUEST.length + NSM_RESPONSE_BYTES_MAX }, (_, i) => (i * 31 + 7) & 0xff)
    writeFileSync(path, content)
    const fd = openSync(path, 'r')
    const response = exchangeNsm(REQUEST, addressOf, (message) => {
      expect(readv(fd, message, 2)).toBe(content.length)
    })
    closeSync(fd)
    expect(response).toEqual(content.subarray(REQUEST.length))
  })

  it('has 32 bytes: address and length of the request, then of the response', () => {
    exchangeNsm(REQUEST, addressOf, (message) => {
      const at = addressOf(message)
      const words = [0, 8, 16, 24].map((offset) => BigInt(koffi.decode(at + BigInt(offset), 'uint64_t') as number))
      const start = at + 32n
      expect(words).toEqual([start, BigInt(REQUEST.length), start + BigInt(REQUEST.length), 0x3000n])
    })
  })

  it('brings back as many bytes as the driver says it wrote', () => {
    const answer = encodeUtf8('an answer')
    const response = exchangeNsm(REQUEST, addressOf, (message) => playDriver(addressOf(message), answer))
    expect(response).toEqual(answer)
    expect(exchangeNsm(REQUEST, addressOf, (message) => playDriver(addressOf(message), new Uint8Array()))).toEqual(
      new Uint8Array(),
    )
  })

  it('is refused when the driver claims more than there is room for', () => {
    const lie = (message: Uint8Array): void => koffi.encode(addressOf(message) + 24n, 'uint64_t', 0x3001)
    expect(() => exchangeNsm(REQUEST, addressOf, lie)).toThrow(expect.objectContaining({ code: 'BAD_MODULE_ANSWER' }))
  })

  it('carries at most 4,096 bytes of request', () => {
    const answer = (message: Uint8Array): void => playDriver(addressOf(message), new Uint8Array(1))
    expect(exchangeNsm(new Uint8Array(0x1000), addressOf, answer)).toEqual(new Uint8Array(1))
    expect(() => exchangeNsm(new Uint8Array(0x1001), addressOf, answer)).toThrow(
      expect.objectContaining({ code: 'FIELD_TOO_LONG' }),
    )
  })
})

describe('the device', () => {
  it('turns a failed system call into an error that names it', async () => {
    const device = await openNsmDevice('/dev/null')
    const expected = expect.objectContaining({
      code: 'DEVICE_FAILED',
      message: "the Nitro module's device failed: ENOTTY (errno 25)",
    })
    expect(() => device.exchange(REQUEST)).toThrow(expected)
    device.close()
  })

  it('is closed by its close, after which the kernel knows no such file', async () => {
    const device = await openNsmDevice('/dev/null')
    device.close()
    expect(() => device.exchange(REQUEST)).toThrow(
      expect.objectContaining({ message: expect.stringContaining('EBADF') }),
    )
  })

  it.skipIf(existsSync(NSM_DEVICE_PATH))('that is not there is said to be missing', async () => {
    await expect(openNsmDevice()).rejects.toMatchObject({
      name: 'AppError',
      code: 'BAD_CONFIG',
      message: 'there is no /dev/nsm: the nitro attester works inside a Nitro enclave only',
    })
  })

  it('that cannot be opened is named with the reason', async () => {
    await expect(openNsmDevice(folder)).rejects.toMatchObject({
      code: 'BAD_CONFIG',
      message: expect.stringContaining('(EISDIR)'),
    })
  })
})

describe('without koffi', () => {
  afterEach(() => {
    vi.doUnmock('koffi')
    vi.resetModules()
  })

  it('says which package is missing', async () => {
    vi.resetModules()
    vi.doMock('koffi', () => {
      throw new Error("Cannot find package 'koffi'")
    })
    const fresh = await import('./nsmDevice.ts')
    await expect(fresh.openNsmDevice('/dev/null')).rejects.toMatchObject({
      name: 'AppError',
      code: 'MISSING_TOOL',
      message: expect.stringContaining('koffi'),
    })
  })
})

/** What the kernel's driver does, through the addresses in the message: takes the request, writes the answer and its length. */
function playDriver(message: bigint, answer: Uint8Array): void {
  const [requestAt, requestLength, responseAt] = [0n, 8n, 16n].map((offset) =>
    BigInt(koffi.decode(message + offset, 'uint64_t') as number | bigint),
  )
  if (requestAt === undefined || requestLength === undefined || responseAt === undefined) throw new Error('unreachable')
  const request = new Uint8Array(koffi.decode(requestAt, 'uint8_t', Number(requestLength)) as number[])
  if (requestLength === BigInt(REQUEST.length)) expect(request).toEqual(REQUEST)
  koffi.encode(responseAt, 'uint8_t', answer, answer.length)
  koffi.encode(message + 24n, 'uint64_t', answer.length)
}

// The bytes of a FileStore's log: a header, then frames. A frame is written and synced as a whole before the next one is begun, so an incomplete
// one can only be the last. All numbers are little-endian.
//
//   header  "wasmqtt" and the version 1 (8 bytes), flags (4), salt (4), checksum of the 16 bytes before (4)
//   frame   "MQFR" (4), sequence (4), length of the body (4), checksum of the body (4), checksum of the 16 bytes before (4), body
//   body    batches, one for each write(): length (4), then the batch, encrypted where the flags say so
//   batch   changes: 1 for a value, 0 for a deletion (1), length of the key (4), key in UTF-8, and for a value its length (4) and its bytes
//
// Checksums are CRC-32 that begin with the salt of the file, which is random. So what a peer puts into a payload cannot look like a frame, nor
// can what an earlier file left on the disk.
import * as zlib from 'node:zlib'

export const HEADER_LENGTH = 20
const FRAME_HEADER_LENGTH = 20
/** Bit of the header's flags. */
export const ENCRYPTED = 1

const MAGIC = Buffer.of(...Buffer.from('wasmqtt'), 1)
const FRAME_MAGIC = Buffer.from('MQFR', 'latin1')

/** A null value deletes. */
export type Change = readonly [key: string, value: Uint8Array | null]

// ------------------------------------------------------------------------------------------------ writing

export function encodeHeader(flags: number, salt: number): Buffer {
  const header = Buffer.alloc(HEADER_LENGTH)
  MAGIC.copy(header)
  header.writeUInt32LE(flags, 8)
  header.writeUInt32LE(salt, 12)
  header.writeUInt32LE(checksum(header.subarray(0, 16), 0), 16)
  return header
}

export function encodeBatch(changes: readonly Change[]): Buffer {
  let length = 0
  for (const [key, value] of changes) length += changeLength(key, value)
  const batch = Buffer.allocUnsafe(length)
  let at = 0
  for (const [key, value] of changes) {
    at = batch.writeUInt8(value === null ? 0 : 1, at)
    at = batch.writeUInt32LE(Buffer.byteLength(key), at)
    at += batch.write(key, at)
    if (value === null) continue
    at = batch.writeUInt32LE(value.length, at)
    batch.set(value, at)
    at += value.length
  }
  return batch
}

/** Bytes that a change takes in a batch. */
export function changeLength(key: string, value: Uint8Array | null): number {
  return 5 + Buffer.byteLength(key) + (value === null ? 0 : 4 + value.length)
}

/** A frame of these batches, as they are stored. */
export function encodeFrame(
  sequence: number,
  batches: readonly Uint8Array[],
  salt: number,
): Buffer {
  const bodyLength = batches.reduce((sum, { length }) => sum + 4 + length, 0)
  const frame = Buffer.allocUnsafe(FRAME_HEADER_LENGTH + bodyLength)
  let at = FRAME_HEADER_LENGTH
  for (const batch of batches) {
    at = frame.writeUInt32LE(batch.length, at)
    frame.set(batch, at)
    at += batch.length
  }
  FRAME_MAGIC.copy(frame)
  frame.writeUInt32LE(sequence, 4)
  frame.writeUInt32LE(bodyLength, 8)
  frame.writeUInt32LE(checksum(frame.subarray(FRAME_HEADER_LENGTH), salt), 12)
  frame.writeUInt32LE(checksum(frame.subarray(0, 16), salt), 16)
  return frame
}

// ------------------------------------------------------------------------------------------------ reading

/** Undefined: this is no log, or its header is damaged. */
export function decodeHeader(file: Buffer): { flags: number; salt: number } | undefined {
  if (file.length < HEADER_LENGTH || !file.subarray(0, 8).equals(MAGIC)) return undefined
  if (checksum(file.subarray(0, 16), 0) !== file.readUInt32LE(16)) return undefined
  return { flags: file.readUInt32LE(8), salt: file.readUInt32LE(12) }
}

/** What the frames of a file hold. */
export interface Contents {
  /** As they are stored, in order. */
  batches: Buffer[]
  /** The sequence of the next frame. */
  sequence: number
  /** Where the next frame belongs: what is behind that was not written to its end. */
  end: number
  /** Stretches of the file that cannot be read although something readable follows: [from, to). */
  damage: [from: number, to: number][]
}

/** Reads all frames that are whole. */
export function decodeFrames(file: Buffer, salt: number): Contents {
  const contents: Contents = { batches: [], sequence: 0, end: HEADER_LENGTH, damage: [] }
  while (contents.end < file.length) {
    let at = contents.end
    let frame = decodeFrame(file, at, salt)
    if (frame?.sequence !== contents.sequence) {
      const from = at
      // A frame behind one that cannot be read: that one had been written to its end, or there would be none.
      do {
        at = file.indexOf(FRAME_MAGIC, at + 1)
        frame = at < 0 ? undefined : decodeFrame(file, at, salt)
      } while (at >= 0 && (frame === undefined || frame.sequence <= contents.sequence))
      if (frame === undefined) break
      contents.damage.push([from, at])
    }
    contents.batches.push(...frame.batches)
    contents.sequence = frame.sequence + 1
    contents.end = at + frame.length
  }
  return contents
}

/** Undefined where none begins, or where it is not whole. */
function decodeFrame(
  file: Buffer,
  at: number,
  salt: number,
): { sequence: number; length: number; batches: Buffer[] } | undefined {
  const header = file.subarray(at, at + FRAME_HEADER_LENGTH)
  if (header.length < FRAME_HEADER_LENGTH || !header.subarray(0, 4).equals(FRAME_MAGIC))
    return undefined
  if (checksum(header.subarray(0, 16), salt) !== header.readUInt32LE(16)) return undefined
  const bodyLength = header.readUInt32LE(8)
  const start = at + FRAME_HEADER_LENGTH
  const body = file.subarray(start, start + bodyLength)
  if (body.length < bodyLength || checksum(body, salt) !== header.readUInt32LE(12)) return undefined
  const batches: Buffer[] = []
  for (let from = 0; from < bodyLength; ) {
    const length = body.readUInt32LE(from)
    from += 4
    batches.push(body.subarray(from, from + length))
    from += length
  }
  return {
    sequence: header.readUInt32LE(4),
    length: FRAME_HEADER_LENGTH + bodyLength,
    batches,
  }
}

/** Calls back with the changes of a batch. Throws a RangeError where it is none: it was encrypted with another key, say. */
export function decodeBatch(
  batch: Uint8Array,
  apply: (key: string, value: Uint8Array | null) => void,
): void {
  const bytes = Buffer.from(batch.buffer, batch.byteOffset, batch.byteLength)
  const take = (at: number): Buffer => {
    const start = at + 4
    const end = start + bytes.readUInt32LE(at)
    if (end > bytes.length) throw new RangeError('A batch of the log is not what was written')
    return bytes.subarray(start, end)
  }
  for (let at = 0; at < bytes.length; ) {
    const hasValue = bytes.readUInt8(at) === 1
    const key = take(at + 1)
    at += 5 + key.length
    let value: Uint8Array | null = null
    if (hasValue) {
      const stored = take(at)
      at += 4 + stored.length
      // A copy of its own: the caller keeps it, and shall not keep the whole file with it.
      value = new Uint8Array(stored)
    }
    apply(key.toString(), value)
  }
}

// ------------------------------------------------------------------------------------------------ checksums

type Checksum = (bytes: Uint8Array, start: number) => number

/** CRC-32 as in gzip, from the runtime where it has it (Node 20.15), and a table where it has not. */
const checksum: Checksum = (zlib as { crc32?: Checksum }).crc32 ?? tableChecksum()

function tableChecksum(): Checksum {
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    let entry = byte
    for (let bit = 0; bit < 8; bit++) entry = entry & 1 ? (entry >>> 1) ^ 0xedb8_8320 : entry >>> 1
    return entry
  })
  return (bytes, start) => {
    let state = ~start
    for (const byte of bytes) state = (state >>> 8) ^ table[(state ^ byte) & 0xff]!
    return ~state >>> 0
  }
}

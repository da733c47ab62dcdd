// Puts into kafkajs the codecs that it does not bring: snappy is its own
// plugin; those for lz4 and zstd need a compiler, so the two are put in as its
// documentation shows, on JavaScript and wasm.

const { CompressionTypes, CompressionCodecs } = require("kafkajs");
const snappy = require("kafkajs-snappy");
const lz4 = require("lz4js");
const zstd = require("@bokuweb/zstd-wasm");

const BLOCK_SIZES = { 4: 1 << 16, 5: 1 << 18, 6: 1 << 20, 7: 1 << 22 };
const STORED = 0x80000000;

// An lz4 frame. lz4js inflates blocks, but looks for their checksums (aiokafka
// writes them) before them, where they are not.
function inflate(frame) {
  const checksum = frame[4] & 0x10 ? 4 : 0;
  const blocks = [];
  let at = 7 + (frame[4] & 0x08 ? 8 : 0);
  for (let head; (head = frame.readUInt32LE(at)) !== 0; ) {
    const size = (head & ~STORED) >>> 0;
    blocks.push({ begin: at + 4, size, stored: size !== head });
    at += 4 + size + checksum;
  }
  const inflated = Buffer.alloc(blocks.length * BLOCK_SIZES[(frame[5] >> 4) & 7]);
  let end = 0;
  for (const { begin, size, stored } of blocks) {
    end = stored
      ? end + frame.copy(inflated, end, begin, begin + size)
      : lz4.decompressBlock(frame, inflated, begin, size, end);
  }
  return inflated.subarray(0, end);
}

CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (buffer) => inflate(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
});

// To be awaited before the first record.
exports.ready = () => zstd.init();

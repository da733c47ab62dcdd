// Writes the records of one job, given as JSON on standard input, with kafkajs.

const { Kafka, CompressionTypes, logLevel } = require("kafkajs");
const codecs = require("./codecs");

const TYPES = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};
const PER_SEND = 500;

const bytes = (text) => (text === null ? null : Buffer.from(text, "base64"));

async function main(job) {
  await codecs.ready();
  const kafka = new Kafka({ brokers: [job.address], logLevel: logLevel.WARN });
  const producer = kafka.producer(job.idempotent ? { idempotent: true } : {});
  await producer.connect();
  const messages = job.records.map((record) => ({
    partition: 0,
    key: bytes(record.key),
    value: bytes(record.value),
    timestamp: record.timestamp,
    headers: Object.fromEntries(record.headers.map(([name, value]) => [name, bytes(value)])),
  }));
  for (let at = 0; at < messages.length; at += PER_SEND) {
    const sent = await producer.send({
      topic: job.topic,
      compression: TYPES[job.codec],
      messages: messages.slice(at, at + PER_SEND),
    });
    const failed = sent.find((part) => part.errorCode !== 0);
    if (failed) throw new Error(`error ${failed.errorCode} at record ${at}`);
  }
  await producer.disconnect();
}

let text = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (some) => (text += some));
process.stdin.on("end", () =>
  main(JSON.parse(text)).catch((error) => {
    console.error(error);
    process.exit(1);
  }),
);

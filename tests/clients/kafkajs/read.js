// Reads the first records of partition 0 with kafkajs, in a group of its own
// with kafkajs's own assigner, and prints each as a line of JSON.

const { Kafka, logLevel } = require("kafkajs");
const codecs = require("./codecs");

const text = (bytes) => (bytes === null ? null : bytes.toString("base64"));

async function main({ address, topic, group, count }) {
  await codecs.ready();
  const kafka = new Kafka({ brokers: [address], logLevel: logLevel.WARN });
  const consumer = kafka.consumer({ groupId: group });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const lines = [];
  let enough;
  const read = new Promise((resolve) => (enough = resolve));
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    console.error(payload.error);
    process.exit(1);
  });
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      if (partition !== 0 || lines.length === count) return;
      const headers = Object.entries(message.headers);
      lines.push(
        JSON.stringify({
          key: text(message.key),
          value: text(message.value),
          timestamp: message.timestamp,
          headers: headers.map(([name, value]) => [name, text(value)]),
        }),
      );
      if (lines.length === count) enough();
    },
  });
  await read;
  await consumer.disconnect();
  process.stdout.write(lines.join("\n"));
}

main(JSON.parse(process.argv[2])).catch((error) => {
  console.error(error);
  process.exit(1);
});

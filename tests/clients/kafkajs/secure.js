// Writes one record and reads it by kafkajs, with the options of a job, given as JSON.
// Prints the value that it has read, or the name of the error.

const { Kafka, logLevel } = require("kafkajs");

async function main({ options, topic, value }) {
  const kafka = new Kafka({ logLevel: logLevel.NOTHING, retry: { retries: 3 }, ...options });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic, messages: [{ value }] });
  await producer.disconnect();
  const consumer = kafka.consumer({ groupId: topic });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const read = await new Promise((resolve) =>
    consumer.run({ eachMessage: async ({ message }) => resolve(message.value.toString()) }));
  console.log(read);
  await consumer.disconnect();
}

main(JSON.parse(process.argv[2])).catch((error) => console.log(error.name));

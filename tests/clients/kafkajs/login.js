// Logs in by kafkajs with the options of a job, given as JSON, and writes one record.
// Prints its offset, or the type of the error.

const { Kafka, logLevel } = require("kafkajs");

async function main(job) {
  const sasl = { ...job.sasl };
  if (job.token) sasl.oauthBearerProvider = async () => ({ value: job.token });
  const kafka = new Kafka({
    brokers: [job.address],
    sasl,
    logLevel: logLevel.NOTHING,
    retry: { retries: 5 },
  });
  const producer = kafka.producer();
  await producer.connect();
  const [part] = await producer.send({ topic: job.topic, messages: [{ value: "x" }] });
  console.log(part.baseOffset);
  await producer.disconnect();
}

main(JSON.parse(process.argv[2])).catch((error) => console.log(error.name));

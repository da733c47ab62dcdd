// Makes a list of calls of kafkajs's admin client. The list is given with the
// broker's address as JSON; each call is a method and its arguments. Prints the
// result or the error of each.

const { Kafka, logLevel } = require("kafkajs");

const failure = ({ name, type, message, groups }) => ({
  error: { name, type, message, groups: groups?.map(({ groupId, errorCode }) => [groupId, errorCode]) },
});

// Bytes as base64, like everywhere in these tests.
const plain = (_, value) =>
  value && value.type === "Buffer" ? Buffer.from(value.data).toString("base64") : value;

async function main({ address, calls }) {
  const kafka = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const results = [];
  for (const [method, ...given] of calls) {
    try {
      results.push({ result: (await admin[method](...given)) ?? null });
    } catch (error) {
      results.push(failure(error));
    }
  }
  await admin.disconnect();
  process.stdout.write(JSON.stringify(results, plain));
}

main(JSON.parse(process.argv[2])).catch((error) => {
  console.error(error);
  process.exit(1);
});

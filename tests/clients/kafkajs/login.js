// Logs in by kafkajs as tests/clients/logins.py has it: its argument is a list of logins, as
// JSON, and it prints for each, in their order, what becomes of it.

const fs = require("fs");
const { Kafka, logLevel } = require("kafkajs");

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function token(url) {
  const answer = await fetch(url);
  return { value: (await answer.json()).access_token };
}

function client(login) {
  const options = {
    brokers: [login.server],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 10000,
    retry: { initialRetryTime: 100, retries: 5 },
    // Sessions last six seconds; the default is to begin ten seconds before their end.
    reauthenticationThreshold: 1000,
  };
  if (login.protocol.endsWith("SSL")) {
    options.ssl = { ca: fs.readFileSync(login.ca) };
    if (login.certificate) {
      options.ssl.cert = options.ssl.key = fs.readFileSync(login.certificate);
    }
  }
  if (login.mechanism === "OAUTHBEARER") {
    const oauthBearerProvider = () => token(login.token);
    options.sasl = { mechanism: "oauthbearer", oauthBearerProvider };
  } else if (login.mechanism) {
    const { user: username, password } = login;
    options.sasl = { mechanism: login.mechanism.toLowerCase(), username, password };
  }
  return new Kafka(options);
}

// Reads in a group, because kafkajs has no other way.
async function reader(kafka, topic, group, numbers) {
  const consumer = kafka.consumer({ groupId: `${topic}-${group}`, maxWaitTimeInMs: 20 });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message }) => numbers.push(Number(message.value.toString())),
  });
  return consumer;
}

async function outcome(login) {
  const { topic } = login;
  const kafka = client(login);
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  let sent = 0;
  const write = async () => {
    const [part] = await producer.send({ topic, messages: [{ value: String(sent) }] });
    if (Number(part.baseOffset) !== sent) throw new Error(`${sent} is at ${part.baseOffset}`);
    sent += 1;
  };
  await write();
  const underLoad = [];
  const consumer = await reader(kafka, topic, "at-work", underLoad);
  while (!underLoad.length || !fs.existsSync(login.over)) {
    await write();
    await pause(50);
  }
  await consumer.disconnect();
  await producer.disconnect();
  const all = [];
  const later = await reader(kafka, topic, "later", all);
  const limit = Date.now() + 60000;
  while (all.length < sent && Date.now() < limit) await pause(20);
  await later.disconnect();
  const right = all.length === sent && all.every((number, at) => number === at);
  const prefix = underLoad.every((number, at) => number === at);
  return right && prefix ? "ok" : `of ${sent}: ${underLoad}; afterwards: ${all}`;
}

const words = (error) => `${error.name} ${error.message}`.replaceAll("\n", " ");

Promise.all(JSON.parse(process.argv[2]).map((each) => outcome(each).catch(words))).then(
  (outcomes) => {
    outcomes.forEach((each) => console.log(each));
    process.exit(0);
  });

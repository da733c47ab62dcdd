// A member of a group, by kafkajs, as a process of its own that may be killed:
// see tests/clients/consume.py. Its argument is the job, as JSON.
//
// Of the assignors that others have, kafkajs brings round robin, under a name
// of its own; with the others' name it goes with them into one group.

const fs = require("fs");
const { Kafka, PartitionAssigners, logLevel } = require("kafkajs");

const job = JSON.parse(process.argv[2]);

if (![null, "roundrobin"].includes(job.assignor)) throw new Error(`kafkajs has no ${job.assignor}`);
const roundRobin = (options) => ({ ...PartitionAssigners.roundRobin(options), name: "roundrobin" });

const journal = fs.openSync(job.journal, "a");
const write = (lines) => fs.writeSync(journal, lines);

async function main() {
  const kafka = new Kafka({ brokers: [job.address], logLevel: logLevel.WARN });
  const consumer = kafka.consumer({
    groupId: job.group,
    partitionAssigners: [roundRobin],
    sessionTimeout: job.session_ms,
    heartbeatInterval: job.heartbeat_ms,
    maxWaitTimeInMs: 200,
  });
  await consumer.connect();
  await consumer.subscribe({ topic: job.topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, commitOffsetsIfNecessary, isRunning, isStale }) => {
      if (!isRunning() || isStale()) return;
      const { partition, messages } = batch;
      write(messages.map((each) => `P ${partition} ${each.offset} ${each.value}\n`).join(""));
      resolveOffset(batch.lastOffset());
      const offset = (BigInt(batch.lastOffset()) + 1n).toString();
      try {
        await commitOffsetsIfNecessary({
          topics: [{ topic: batch.topic, partitions: [{ partition, offset }] }],
        });
      } catch (error) {
        write(`F ${partition} ${offset}\n`); // it will read from there again
        throw error;
      }
      write(`C ${partition} ${offset}\n`);
    },
  });
  process.once("SIGTERM", async () => {
    await consumer.disconnect();
    process.exit(0);
  });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

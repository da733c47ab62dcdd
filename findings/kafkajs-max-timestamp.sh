#!/usr/bin/env bash
#
# kafkajs 2.2.4 (npm), Node.js 18 or later.
#
# Its producer writes a wrong largest timestamp into the header of a record batch
# when some messages have a timestamp and others do not. A message without one is
# encoded with the time of sending, but only the given timestamps count for the
# header. So the header of a batch with one message of 1970 and one of today says
# that nothing in the batch is younger than 1970. A broker that believes headers
# finds the second message by no look-up by time, and deletes it at once where
# retention goes by time.
#
# Output seen:
#
#     header: first 1000, max 1000
#     records: 1000 now

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --no-audit --no-fund --loglevel=error kafkajs@2.2.4

cat >look.js <<'JS'
const request = require('kafkajs/src/protocol/requests/produce/v3/request')
const Decoder = require('kafkajs/src/protocol/decoder')
const decodeBatch = require('kafkajs/src/protocol/recordBatch/v0/decoder')
const { Types } = require('kafkajs/src/protocol/message/compression')

const messages = [
  { key: null, value: Buffer.from('old'), timestamp: '1000', headers: {} },
  { key: null, value: Buffer.from('new'), headers: {} },
]
const began = Date.now()

async function main() {
  const partitions = [{ partition: 0, messages, firstSequence: 0 }]
  const topicData = [{ topic: 'log', partitions }]
  const { buffer } = await request({
    acks: -1, timeout: 1000, transactionalId: null, producerId: -1, producerEpoch: 0,
    compression: Types.None, topicData,
  }).encode()
  // The batch is what follows the only partition's number and size.
  const start = buffer.length - batchSize(buffer)
  const batch = await decodeBatch(new Decoder(buffer.subarray(start)))
  const shown = time => (Number(time) >= began ? 'now' : String(time))
  console.log(`header: first ${batch.firstTimestamp}, max ${shown(batch.maxTimestamp)}`)
  console.log('records:', batch.records.map(each => shown(each.timestamp)).join(' '))
}

// The size stands in the INT32 whose value is the number of bytes after it.
function batchSize(buffer) {
  for (let at = 0; at + 4 <= buffer.length; at++) {
    if (buffer.readInt32BE(at) === buffer.length - at - 4) return buffer.length - at - 4
  }
  throw new Error('no batch')
}

main()
JS
node look.js | tee seen
diff - seen <<'EXPECTED'
header: first 1000, max 1000
records: 1000 now
EXPECTED

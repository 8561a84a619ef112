'use strict';

// A process of a mixed fleet, with the real Bull. FLEET holds what fleet_test.go's settings say, as JSON. It works on the
// queue, or adds jobs to it, and writes what it does to a file, one line at a time: a process that is killed leaves it.

const fs = require('fs');
const settings = JSON.parse(process.env.FLEET);
const Queue = require(settings.bull);
const Redis = require('ioredis');

const record = fs.openSync(settings.record, 'a');
const write = (...words) => fs.writeSync(record, words.join(' ') + '\n');

// createClient is how Bull reaches Redis other than by a plain URL.
function createClient() {
  const common = { maxRetriesPerRequest: null, enableReadyCheck: false, retryStrategy: () => 100 };
  const address = addr => {
    const [host, port] = addr.split(':');
    return { host, port: Number(port) };
  };
  if (settings.sentinels) {
    return new Redis({
      ...common, sentinels: settings.sentinels.map(address), name: settings.master, sentinelRetryStrategy: () => 100
    });
  }
  return new Redis.Cluster(settings.cluster.map(address), { redisOptions: common });
}

const options = {
  prefix: settings.prefix,
  limiter: settings.limiter || undefined,
  settings: {
    lockDuration: settings.lockMs, stalledInterval: settings.stalledMs, maxStalledCount: settings.maxStalled,
    guardInterval: settings.guardMs, drainDelay: 1, retryProcessDelay: 200
  }
};
const queue = settings.url
  ? new Queue(settings.queue, settings.url, { ...options, redis: { retryStrategy: () => 100 } })
  : new Queue(settings.queue, { ...options, createClient });
queue.on('error', () => {}); // Redis being away is part of the story

// hash is FNV-1a of an id, as fate in member_test.go has it.
function hash(id) {
  let h = 0x811c9dc5;
  for (const c of Buffer.from(id)) h = Math.imul(h ^ c, 0x01000193) >>> 0;
  return h;
}

async function handle(job) {
  write('start', job.id, job.attemptsMade, Date.now());
  const h = hash(String(job.id));
  if (settings.workMs) await new Promise(resolve => setTimeout(resolve, h % settings.workMs));
  if (h % 200 === 0 || (h % 200 === 1 && job.attemptsMade < 1)) throw new Error('as its id says');
  return settings.name;
}

async function produce({ from, count, opts }) {
  for (let i = 0; i < count; i += 500) {
    const jobs = [];
    for (let n = i; n < Math.min(i + 500, count); n++) {
      const id = `${settings.name}-${from + n}`;
      jobs.push({ data: { jobUuid: id }, opts: { ...opts, jobId: id } });
    }
    await queue.addBulk(jobs);
  }
  await queue.close();
  process.exit(0);
}

if (settings.produce) {
  produce(settings.produce);
} else {
  queue.process(settings.concurrency, handle);
}
// Our parent's end is ours.
process.stdin.on('end', () => process.exit(0)).resume();

'use strict';

// The peer of the queue benchmark: npm bull 4.16.5. Requests and replies are one JSON object a line, the same ones that
// the Go side answers (test/bench/queue/child.go), so that both are measured by the same steps. It ends with its input.

const readline = require('readline');
const Queue = require('bull');

const url = process.env.BENCH_REDIS_URL;
const prefix = process.env.BENCH_PREFIX;

let nextUuid = 0;
// A job's data, different for each job as uuids are.
const data = () => ({ jobUuid: '00000000-0000-4000-8000-' + String(nextUuid++).padStart(12, '0') });

const open = name => new Queue(name, url, { prefix });

// meter measures wall clock and the processor time of this process, in seconds.
function meter() {
  const start = process.hrtime.bigint();
  const cpu = process.cpuUsage();
  return () => {
    const used = process.cpuUsage(cpu);
    return { seconds: Number(process.hrtime.bigint() - start) / 1e9, cpu: (used.user + used.system) / 1e6 };
  };
}

// Each way adds a number of jobs and waits until Redis has answered for all of them.
const ways = {
  one: (queue, size, opts) => queue.add(data(), opts),
  promises: (queue, size, opts) => Promise.all(Array.from({ length: size }, () => queue.add(data(), opts))),
  bulk: (queue, size, opts) => queue.addBulk(Array.from({ length: size }, () => ({ data: data(), opts })))
};

async function add({ queue: name, way, size, millis }) {
  const queue = open(name);
  await queue.isReady();
  await queue.client.ping();
  const opts = { removeOnComplete: true };
  const stop = meter();
  const end = process.hrtime.bigint() + BigInt(millis) * 1000000n;
  let jobs = 0;
  do {
    await ways[way](queue, size, opts);
    jobs += size;
  } while (process.hrtime.bigint() < end);
  const measured = { jobs, ...stop() };
  await queue.close();
  return measured;
}

// run works off count jobs, from the first call of the handler until none is waiting or active.
async function run({ queue: name, concurrency, count }) {
  const queue = open(name);
  let stop;
  let handled = 0;
  const done = new Promise((resolve, reject) => {
    queue.process(concurrency, async () => {
      stop = stop || meter();
      if (++handled === count) drained(queue).then(resolve, reject);
    }).catch(reject);
  });
  await done;
  const measured = { jobs: count, ...stop() };
  await queue.close();
  return measured;
}

async function drained(queue) {
  for (;;) {
    const [[, waiting], [, active]] = await queue.client.multi().llen(queue.toKey('wait')).llen(queue.toKey('active')).exec();
    if (waiting + active === 0) return;
  }
}

// trickle adds one job every gap milliseconds and tells when it began to add each, in ns of the machine's clock.
async function trickle({ queue: name, count, gap }) {
  const queue = open(name);
  await queue.isReady();
  const times = {};
  for (let i = 0; i < count; i++) {
    await new Promise(resolve => setTimeout(resolve, gap));
    const begun = Number(process.hrtime.bigint());
    const job = await queue.add(data(), { removeOnComplete: true });
    times[job.id] = begun;
  }
  await queue.close();
  return { jobs: count, times };
}

let watched; // what watch began, for collect

// watch starts a consumer that notes when its handler is called.
async function watch({ queue: name, count }) {
  const queue = open(name);
  const times = {};
  const done = new Promise((resolve, reject) => {
    let handled = 0;
    queue.process(async job => {
      times[job.id] = Number(process.hrtime.bigint());
      if (++handled === count) resolve();
    }).catch(reject);
  });
  watched = { queue, times, done };
  await queue.isReady();
  return {};
}

async function collect() {
  const { queue, times, done } = watched;
  await done;
  await drained(queue);
  await queue.close();
  return { times };
}

const hello = async () => ({ version: 'Node.js ' + process.version.slice(1) + ', bull ' + require('bull/package.json').version });

const commands = { hello, add, run, trickle, watch, collect };

readline.createInterface({ input: process.stdin }).on('line', async line => {
  const request = JSON.parse(line);
  let reply;
  try {
    reply = await commands[request.do](request);
  } catch (err) {
    reply = { error: err.stack };
  }
  process.stdout.write(JSON.stringify(reply) + '\n');
}).on('close', () => process.exit(0));

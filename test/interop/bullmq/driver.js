'use strict';

// Drives the real BullMQ for the Go tests: one JSON request per line on stdin, one JSON reply per line on stdout.
// Replies carry the request's seq; {"event": …} lines come on their own. BULLMQ names the package: bullmq-5 or bullmq-6.

const readline = require('readline');
const { Queue, QueueEvents, Worker } = require(process.env.BULLMQ || 'bullmq-5');

function out(value) {
  process.stdout.write(JSON.stringify(value) + '\n');
}

// where returns the options that name a queue's keys and server.
function where({ url, prefix }) {
  const { hostname, port, username, password, pathname } = new URL(url);
  return {
    prefix,
    connection: {
      host: hostname, port: Number(port || 6379), db: Number(pathname.slice(1) || 0),
      username: decodeURIComponent(username) || undefined, password: decodeURIComponent(password) || undefined,
      maxRetriesPerRequest: null
    }
  };
}

let queue, worker, queueEvents;
const held = new Map();

// What a job's data asks the handler to do.
const handlers = {
  complete: async job => ({ saw: job.data }),
  failTwice: async job => {
    if (job.attemptsMade < 2) throw new Error('not yet');
    return 'third time';
  },
  hold: job => new Promise(resolve => held.set(job.id, resolve))
};

const commands = {
  // open makes the Queue object, which writes its version unless it is told not to.
  open: async request => {
    queue = new Queue(request.name, { ...where(request), ...request.options });
    queue.on('error', err => out({ event: 'error', value: err.message }));
    await queue.waitUntilReady();
    return request.options && request.options.skipMetasUpdate ? null : queue.getVersion();
  },
  add: async ({ jobName, data, opts }) => (await queue.add(jobName, data, opts)).id,
  remove: async ({ id }) => (await queue.getJob(id)).remove(),
  pause: () => queue.pause(),
  resume: () => queue.resume(),
  isPaused: () => queue.isPaused(),
  concurrency: ({ n }) => queue.setGlobalConcurrency(n),
  counts: () => queue.getJobCounts(),
  waiting: async () => (await queue.getWaiting()).map(job => job.id),
  state: async ({ id }) => {
    const job = await queue.getJob(id);
    return job
      ? { state: await job.getState(), name: job.name, data: job.data, attemptsMade: job.attemptsMade,
          returnvalue: job.returnvalue }
      : { state: 'absent' };
  },
  // work runs jobs, in the order that "run" tells.
  work: async request => {
    worker = new Worker(request.name, job => {
      out({ event: 'run', id: job.id, name: job.name, data: job.data });
      return (handlers[request.how || job.data.do] || handlers.complete)(job);
    }, { ...where(request), ...request.options });
    worker.on('error', err => out({ event: 'error', value: err.message }));
    worker.on('completed', job => out({ event: 'completed', id: job.id }));
    await worker.waitUntilReady();
  },
  release: ({ id }) => held.get(id)('released'),
  // listen tells of everything in the stream of events, from its beginning.
  listen: async request => {
    queueEvents = new QueueEvents(request.name, { ...where(request), lastEventId: '0-0' });
    queueEvents.on('error', err => out({ event: 'error', value: err.message }));
    for (const event of ['added', 'waiting', 'delayed', 'duplicated', 'completed', 'removed']) {
      queueEvents.on(event, ({ jobId, name, delay }) =>
        out({ event: 'events', id: jobId, name, value: [event, delay && Number(delay)] }));
    }
    await queueEvents.waitUntilReady();
  }
};

readline.createInterface({ input: process.stdin }).on('line', async line => {
  const request = JSON.parse(line);
  try {
    const value = await commands[request.do](request);
    out({ seq: request.seq, value: value === undefined ? null : value });
  } catch (err) {
    out({ seq: request.seq, error: err.message });
  }
}).on('close', () => process.exit(0));

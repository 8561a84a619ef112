'use strict';

// Drives the real Bull for the Go tests: one JSON request per line on stdin, one JSON reply per line on stdout.
// Replies carry the request's seq; {"event": …} lines come on their own.

const readline = require('readline');
const Queue = require('bull');

const queues = new Map();

function out(value) {
  process.stdout.write(JSON.stringify(value) + '\n');
}

function queue({ url, prefix, name, settings }) {
  const key = prefix + ':' + name;
  if (!queues.has(key)) {
    const q = new Queue(name, url, { prefix, settings });
    q.on('error', err => out({ event: 'error', value: err.message }));
    queues.set(key, q);
  }
  return queues.get(key);
}

// What a job's data asks the handler to do.
const handlers = {
  complete: async job => ({ saw: job.data, attempts: job.attemptsMade }),
  failTwice: async job => {
    if (job.attemptsMade < 2) throw new Error('not yet');
    return 'third time';
  },
  fail: async () => {
    throw new Error('boom');
  }
};

const commands = {
  add: async (q, { jobName, data, opts }) => {
    const job = jobName ? await q.add(jobName, data, opts) : await q.add(data, opts);
    return { id: String(job.id) };
  },
  finished: async (q, { id }) => {
    const job = await q.getJob(id);
    return job.finished().then(value => ({ value }), err => ({ failed: err.message }));
  },
  process: async (q, { concurrency }) => {
    q.process(concurrency || 1, job => {
      out({ event: 'run', id: String(job.id), name: job.name, data: job.data });
      return (handlers[job.data.do] || handlers.complete)(job);
    });
    await q.isReady();
    return {};
  },
  listen: async (q, { events }) => {
    await Promise.all(events.map(event => new Promise(resolve => {
      q.once('registered:global:' + event, resolve);
      q.on('global:' + event, (id, value) => out({ event, id: String(id), value }));
    })));
    return {};
  },
  state: async (q, { id }) => {
    const job = await q.getJob(id);
    return job
      ? { state: await job.getState(), attemptsMade: job.attemptsMade, failedReason: job.failedReason,
          returnvalue: job.returnvalue, stacktrace: job.stacktrace, data: job.data }
      : { state: 'absent' };
  },
  counts: q => q.getJobCounts(),
  workers: async q => (await q.getWorkers()).length,
  pause: q => q.pause(),
  resume: q => q.resume(),
  isPaused: q => q.isPaused(),
  moveStalled: async q => {
    await q.client.del(q.toKey('stalled-check'));
    await q.moveUnlockedJobsToWait();
    return {};
  }
};

readline.createInterface({ input: process.stdin }).on('line', async line => {
  const request = JSON.parse(line);
  try {
    const value = await commands[request.do](queue(request), request);
    out({ seq: request.seq, value: value === undefined ? null : value });
  } catch (err) {
    out({ seq: request.seq, error: err.message });
  }
}).on('close', () => process.exit(0));

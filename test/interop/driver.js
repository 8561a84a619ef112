'use strict';

// Drives the real Bull for the Go tests: one JSON request per line on stdin, one JSON reply per line on stdout.
// Replies carry the request's seq; {"event": …} lines come on their own. Each file in driver/ adds commands.
// BULL names the package: bull (unless told), or bull-4.10.

const fs = require('fs');
const path = require('path');
const readline = require('readline');
const Queue = require(process.env.BULL || 'bull');

const queues = new Map();

function out(value) {
  process.stdout.write(JSON.stringify(value) + '\n');
}

// queue returns the queue that a request names, opened once.
function queue({ url, prefix, name, settings, options }) {
  const key = prefix + ':' + name;
  if (!queues.has(key)) {
    const q = new Queue(name, url, { prefix, settings, ...options });
    q.on('error', err => out({ event: 'error', value: err.message }));
    queues.set(key, q);
  }
  return queues.get(key);
}

const commands = {};
for (const file of fs.readdirSync(path.join(__dirname, 'driver')).sort()) {
  Object.assign(commands, require('./driver/' + file)({ out, queue, Queue }));
}

readline.createInterface({ input: process.stdin }).on('line', async line => {
  const request = JSON.parse(line);
  try {
    const value = await commands[request.do](queue(request), request);
    out({ seq: request.seq, value: value === undefined ? null : value });
  } catch (err) {
    out({ seq: request.seq, error: err.message });
  }
}).on('close', () => process.exit(0));

'use strict';

// One JSON request per line on stdin, {"seq", "do", …}; one JSON reply per line on stdout, {"seq", "value"} or
// {"seq", "error"}. The process ends with its input.

const readline = require('readline');

function out(value) {
  process.stdout.write(JSON.stringify(value) + '\n');
}

function serve(commands) {
  readline.createInterface({ input: process.stdin }).on('line', async line => {
    const request = JSON.parse(line);
    try {
      const value = await commands[request.do](request);
      out({ seq: request.seq, value: value === undefined ? null : value });
    } catch (err) {
      out({ seq: request.seq, error: err.message });
    }
  }).on('close', () => process.exit(0));
}

module.exports = { out, serve };

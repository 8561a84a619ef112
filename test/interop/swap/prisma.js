'use strict';

// A program on the legacy tables: it calls Prisma as it is told, and keeps busy with all that such programs do.

const assert = require('assert');
const { setTimeout } = require('timers/promises');
const { open } = require('../prisma/client');
const { serve } = require('./serve');

const opened = open(process.env.DATABASE_URL);

const call = (prisma, { model, method, args }) => prisma[model][method](args);

let busy = null;

// round writes, reads, changes and removes jobs in each of the ways that Prisma has.
async function round(prisma, name) {
  const created = await prisma.emailJob.create({
    data: {
      subject: name, body: '<p>' + name + '</p>', totalEmails: 2,
      recipients: { create: [{ email: name + '-a@example.org' }, { email: name + '-b@example.org', name: 'B' }] }
    },
    include: { recipients: true }
  });
  const where = { id: created.id };
  await prisma.emailJob.update({ where, data: { status: 'PROCESSING', startedAt: new Date() } });
  for (const { id } of created.recipients) {
    await prisma.recipient.update({ where: { id }, data: { status: 'SENT', sentAt: new Date() } });
  }
  await prisma.$transaction(raw => [
    raw.recipient.updateMany({ where: { jobId: created.id, name: null }, data: { status: 'FAILED', error: 'no', sentAt: null } }),
    raw.emailJob.update({ where, data: { sentEmails: { increment: 1 }, failedEmails: { increment: 1 } } })
  ]);
  await prisma.$transaction(() => async tx => {
    const groups = await tx.recipient.groupBy({ by: ['status'], where: { jobId: created.id }, _count: true, orderBy: { status: 'asc' } });
    assert.deepStrictEqual(groups, [{ _count: 1, status: 'SENT' }, { _count: 1, status: 'FAILED' }]);
    await tx.emailJob.update({ where, data: { status: 'COMPLETED', completedAt: new Date() } });
  });
  const read = await prisma.emailJob.findUnique({ where, include: { recipients: { orderBy: { email: 'asc' } } } });
  assert.strictEqual(read.status + read.sentEmails + read.failedEmails, 'COMPLETED11');
  assert.deepStrictEqual(read.recipients.map(r => r.status), ['FAILED', 'SENT']);
  assert.deepStrictEqual(Object.keys(read.recipients[0]), ['id', 'jobId', 'email', 'name', 'status', 'error', 'sentAt']);
  await prisma.emailJob.delete({ where });
  assert.strictEqual(await prisma.recipient.count({ where: { jobId: created.id } }), 0);
}

// retrying makes the calls of a client again that lost a deadlock, as Prisma wants its users to do.
function retrying(prisma, state) {
  const again = async call => {
    for (;;) {
      try {
        return await call();
      } catch (err) {
        if (err.code !== 'P2034') throw err;
        state.deadlocks++;
      }
    }
  };
  const model = name => new Proxy({}, { get: (_, method) => args => again(() => prisma[name][method](args)) });
  return { emailJob: model('emailJob'), recipient: model('recipient'), $transaction: make => again(() => prisma.$transaction(make(prisma))) };
}

async function work(prisma, state, number) {
  const client = retrying(prisma, state);
  for (let i = 0; !state.stop; i++) {
    try {
      await round(client, 'busy-' + number + '-' + i);
      state.rounds++;
    } catch (err) {
      state.errors.push(err.message);
    }
    await setTimeout(50);
  }
}

serve({
  call: async request => call(await opened, request),
  transaction: async ({ calls }) => {
    const prisma = await opened;
    return prisma.$transaction(calls.map(request => call(prisma, request)));
  },
  // busy goes on until rest, which tells what came of it.
  busy: async ({ loops }) => {
    const prisma = await opened;
    const state = { stop: false, rounds: 0, deadlocks: 0, errors: [] };
    busy = { state, loops: Array.from({ length: loops }, (_, i) => work(prisma, state, i)) };
  },
  rounds: () => busy.state.rounds,
  rest: async () => {
    busy.state.stop = true;
    await Promise.all(busy.loops);
    return busy.state;
  }
});

'use strict';

// A Node backend: it writes a job with its recipients, and then puts it into the queue.

const Queue = require('bull');
const { open } = require('../prisma/client');
const { out, serve } = require('./serve');

const { DATABASE_URL, REDIS_URL, BULL_PREFIX, QUEUE_NAME_EMAIL } = process.env;
const opened = open(DATABASE_URL);
const queue = new Queue(QUEUE_NAME_EMAIL, REDIS_URL, { prefix: BULL_PREFIX });
queue.on('error', err => out({ event: 'error', value: err.message }));
queue.setMaxListeners(0); // each job.finished() listens

serve({
  // send answers once the job is in the queue; {event: 'finished'} tells what job.finished() comes to.
  send: async ({ subject, body, recipients }) => {
    const prisma = await opened;
    const { id } = await prisma.emailJob.create({
      data: { subject, body, totalEmails: recipients.length, recipients: { create: recipients.map(email => ({ email })) } }
    });
    const job = await queue.add({ jobUuid: id });
    job.finished().then(
      value => out({ event: 'finished', id, value }),
      err => out({ event: 'finished', id, value: { error: err.message } }));
    return { id, bull: String(job.id) };
  },
  // row is the job as a legacy program reads it.
  row: async ({ id }) => (await opened).emailJob.findUnique({ where: { id }, include: { recipients: { orderBy: { email: 'asc' } } } }),
  bull: async ({ id }) => {
    const job = await queue.getJob(id);
    return { state: await job.getState(), progress: job.progress(), logs: (await queue.getJobLogs(id)).logs };
  },
  counts: () => queue.getJobCounts()
});

'use strict';

// The tuned peer of the delivery benchmark: a Node worker of the kind of ../swap/worker.js, by somebody who has looked for
// what can be had with the same packages. Connections are kept and used side by side, several jobs run at once, a job's
// recipients are mailed many at a time, and their rows are updated by sets. What it loses for that: a crash leaves up to
// SET mails of a job sent and not recorded.

const Queue = require('bull');
const nodemailer = require('nodemailer');
const { open } = require('../prisma/client');
const { out, serve } = require('../swap/serve');

const { DATABASE_URL, REDIS_URL, BULL_PREFIX, QUEUE_NAME_EMAIL, SMTP_SERVER, SMTP_PORT, SMTP_FROM, SMTP_CONNECTIONS } = process.env;

const SET = 50;
const JOBS = 4;

const transport = nodemailer.createTransport({
  host: SMTP_SERVER,
  port: Number(SMTP_PORT),
  secure: false,
  ignoreTLS: true,
  pool: true,
  maxConnections: Number(SMTP_CONNECTIONS),
  maxMessages: Infinity
});
const queue = new Queue(QUEUE_NAME_EMAIL, REDIS_URL, { prefix: BULL_PREFIX });
queue.on('error', err => out({ event: 'error', value: err.message }));

async function sendTo(emailJob, recipient) {
  try {
    await transport.sendMail({
      from: SMTP_FROM,
      to: recipient.name ? { name: recipient.name, address: recipient.email } : recipient.email,
      subject: emailJob.subject,
      html: emailJob.body
    });
    return { id: recipient.id };
  } catch (err) {
    return { id: recipient.id, error: err.message };
  }
}

async function sendSet(prisma, emailJob, recipients) {
  const results = await Promise.all(recipients.map(recipient => sendTo(emailJob, recipient)));
  const sent = results.filter(result => !result.error).map(result => result.id);
  await prisma.recipient.updateMany({ where: { id: { in: sent } }, data: { status: 'SENT', sentAt: new Date() } });
  for (const { id, error } of results.filter(result => result.error)) {
    await prisma.recipient.update({ where: { id }, data: { status: 'FAILED', error } });
  }
  return sent.length;
}

async function run(prisma, { jobUuid }) {
  const where = { id: jobUuid };
  const emailJob = await prisma.emailJob.findUnique({ where, include: { recipients: true } });
  await prisma.emailJob.update({ where, data: { status: 'PROCESSING', startedAt: new Date() } });
  const { recipients } = emailJob;
  let sentEmails = 0;
  for (let at = 0; at < recipients.length; at += SET) {
    sentEmails += await sendSet(prisma, emailJob, recipients.slice(at, at + SET));
  }
  const failedEmails = recipients.length - sentEmails;
  const status = recipients.length > 0 && sentEmails === 0 ? 'FAILED' : 'COMPLETED';
  await prisma.emailJob.update({ where, data: { status, sentEmails, failedEmails, completedAt: new Date() } });
}

async function main() {
  const prisma = await open(DATABASE_URL);
  queue.process(JOBS, job => run(prisma, job.data));
  await queue.isReady();
  out({ event: 'ready' });
}

serve({});
main().catch(err => {
  console.error(err);
  process.exit(1);
});

'use strict';

// A Node worker as those that Cartero takes over from: all recipients of a job, one mail after another, whatever the rows
// say of them. It knows the legacy columns alone, and sends from an address of its own.

const Queue = require('bull');
const nodemailer = require('nodemailer');
const { open } = require('../prisma/client');
const { out, serve } = require('./serve');

const { DATABASE_URL, REDIS_URL, BULL_PREFIX, QUEUE_NAME_EMAIL, SMTP_SERVER, SMTP_PORT, SMTP_FROM, BULL_SETTINGS } = process.env;

const transport = nodemailer.createTransport({ host: SMTP_SERVER, port: Number(SMTP_PORT), secure: false, ignoreTLS: true });
const queue = new Queue(QUEUE_NAME_EMAIL, REDIS_URL, { prefix: BULL_PREFIX, settings: JSON.parse(BULL_SETTINGS) });
queue.on('error', err => out({ event: 'error', value: err.message }));

async function sendTo(prisma, emailJob, recipient) {
  try {
    await transport.sendMail({
      from: SMTP_FROM,
      to: recipient.name ? { name: recipient.name, address: recipient.email } : recipient.email,
      subject: emailJob.subject,
      html: emailJob.body
    });
  } catch (err) {
    await prisma.recipient.update({ where: { id: recipient.id }, data: { status: 'FAILED', error: err.message } });
    return false;
  }
  await prisma.recipient.update({ where: { id: recipient.id }, data: { status: 'SENT', sentAt: new Date() } });
  return true;
}

async function run(prisma, { jobUuid }) {
  const where = { id: jobUuid };
  const emailJob = await prisma.emailJob.findUnique({ where, include: { recipients: true } });
  if (!emailJob) throw new Error('EmailJob ' + jobUuid + ' does not exist');
  await prisma.emailJob.update({ where, data: { status: 'PROCESSING', startedAt: new Date() } });
  let sentEmails = 0;
  let failedEmails = 0;
  for (const recipient of emailJob.recipients) {
    if (await sendTo(prisma, emailJob, recipient)) sentEmails++;
    else failedEmails++;
  }
  const status = emailJob.recipients.length > 0 && sentEmails === 0 ? 'FAILED' : 'COMPLETED';
  await prisma.emailJob.update({ where, data: { status, sentEmails, failedEmails, completedAt: new Date() } });
  return { sentEmails, failedEmails };
}

async function main() {
  const prisma = await open(DATABASE_URL);
  queue.process(job => run(prisma, job.data));
  await queue.isReady();
  out({ event: 'ready' });
}

serve({});
main().catch(err => {
  console.error(err);
  process.exit(1);
});

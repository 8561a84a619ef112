'use strict';

// Opens the Prisma client that generate.js has generated from the legacy schema.

const path = require('path');
const { createJiti } = require('jiti');
const { PrismaMariaDb } = require('@prisma/adapter-mariadb');

// The client is TypeScript, which Node 20 does not run by itself; its runtime is not.
const jiti = createJiti(__filename, {
  fsCache: path.join(__dirname, '..', 'generated', 'cache'),
  nativeModules: ['@prisma/client']
});

const load = () => jiti.import('../generated/prisma/client.ts');

// open connects to a database URL as Prisma writes it. The client connects when it is first used.
async function open(databaseURL) {
  const { PrismaClient } = await load();
  const url = new URL(databaseURL);
  const adapter = new PrismaMariaDb({
    host: url.hostname,
    port: Number(url.port || 3306),
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.slice(1)),
    connectionLimit: 8
  });
  return new PrismaClient({ adapter, errorFormat: 'minimal' });
}

module.exports = { load, open };

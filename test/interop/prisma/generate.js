'use strict';

// Generates the Prisma client into ../generated, unless it is there for this schema and these packages. The schema engine
// is not needed for that, but looked for: any program will do, and nothing is downloaded.

const { execFileSync } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');

const root = path.join(__dirname, '..');
const generated = path.join(root, 'generated');
const stamp = path.join(generated, 'stamp');

const hash = crypto.createHash('sha256');
for (const file of ['prisma/schema.prisma', 'prisma/generate.js', 'prisma/client.js', 'package-lock.json']) {
  hash.update(fs.readFileSync(path.join(root, file)));
}
const wanted = hash.digest('hex');

async function main() {
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === wanted) return;
  for (const old of ['stamp', 'prisma', 'cache']) fs.rmSync(path.join(generated, old), { recursive: true, force: true });
  const cli = path.join(root, 'node_modules', 'prisma', 'build', 'index.js');
  execFileSync(process.execPath, [cli, 'generate', '--schema', 'prisma/schema.prisma'], {
    cwd: root,
    stdio: 'pipe', // what it says is shown if it fails
    env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: '1', PRISMA_HIDE_UPDATE_MESSAGE: '1' }
  });
  await require('./client').load(); // compiles it, into the cache that later processes find
  fs.writeFileSync(stamp, wanted);
}

main().catch(err => {
  console.error(err);
  process.exit(1);
});

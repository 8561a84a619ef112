'use strict';

// Reads mails with mailparser, as mail programs built on it do: one {"seq", "raw"} a line, raw in base64, is answered
// with what there is to be shown.

const readline = require('readline');
const { domainToASCII } = require('url');
const libmime = require('libmime');
const { simpleParser } = require('mailparser');

// What the other answers tell of, or no reader sees.
const known = ['date', 'mime-version', 'message-id', 'from', 'to', 'content-type', 'content-transfer-encoding'];

// mailparser shows domains in Unicode.
function person({ name, address }) {
  const at = address.lastIndexOf('@');
  return [name, address.slice(0, at + 1) + domainToASCII(address.slice(at + 1))];
}

function written([name, address]) {
  return name ? `${name} <${address}>` : address;
}

// listField puts together again what mailparser took apart (RFC 2369, RFC 2919).
function listField(part, { name, id, url, mail }) {
  switch (part) {
    case 'id':
      return [name && libmime.decodeWords(name), `<${id}>`].filter(Boolean).join(' ');
    case 'unsubscribe':
      return [url && `<${url}>`, mail && `<mailto:${mail}>`].filter(Boolean).join(', ');
    default:
      return name;
  }
}

function field(mail, key) {
  if (key.startsWith('list-')) {
    const part = key.slice('list-'.length);
    return listField(part, mail.headers.get('list')[part]);
  }
  const value = mail.headers.get(key);
  if (typeof value === 'string') return key === 'subject' ? value : libmime.decodeWords(value);
  return value.value.map(person).map(written).join(', ');
}

async function parse(raw) {
  const mail = await simpleParser(Buffer.from(raw, 'base64'), {
    skipHtmlToText: true, skipTextToHtml: true, skipImageLinks: true, keepCidLinks: true,
  });
  const keys = mail.headerLines.map(({ key }) => key);
  return {
    headers: keys.filter(key => !known.includes(key)).map(key => [key, field(mail, key)]),
    from: person(mail.from.value[0]),
    to: person(mail.to.value[0]),
    date: mail.date.toISOString(),
    messageID: mail.messageId,
    text: mail.text || '',
    html: mail.html || '',
    files: mail.attachments.map(a => ({
      type: a.contentType, disposition: a.contentDisposition, name: a.filename, id: a.contentId || '',
      data: a.content.toString('base64'),
    })),
  };
}

readline.createInterface({ input: process.stdin }).on('line', async line => {
  const { seq, raw } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ seq, value: await parse(raw) }));
  } catch (err) {
    console.log(JSON.stringify({ seq, error: err.message }));
  }
});

'use strict';

const http = require('node:http');

const known = JSON.parse(process.env.VCAP_APPLICATION || '{}');
const index = process.env.CF_INSTANCE_INDEX ?? known.instance_index ?? 'unknown';

const pages = {
  '/': `Hello from ${known.application_name ?? 'node'}\ninstance index: ${index}\n`,
  '/health': 'ok\n',
};

const server = http.createServer((request, response) => {
  const path = request.url.split('?')[0];
  const text = Object.hasOwn(pages, path) ? pages[path] : undefined;
  response.writeHead(text ? 200 : 404, { 'Content-Type': 'text/plain; charset=utf-8' });
  response.end(text ?? 'not found\n');
  console.log(`${request.method} ${path} ${response.statusCode}`);
});

const host = process.env.VCAP_APP_HOST || '0.0.0.0';
const port = Number(process.env.PORT || 8080);
server.listen(port, host, () => console.log(`listening on ${host}:${port}`));

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    // close waits for requests in flight; connections that only wait for another request end at once
    server.close(() => console.log('ended'));
    server.closeIdleConnections();
  });
}

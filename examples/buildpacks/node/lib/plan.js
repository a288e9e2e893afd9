// Reads package.json in the current directory, checks that its dependencies are there, and writes .deakit/release.yml.
'use strict';

const fs = require('fs');

function refuse(text) {
  console.log(` !     ${text}`);
  process.exit(1);
}

function read() {
  try {
    return JSON.parse(fs.readFileSync('package.json', 'utf8'));
  } catch (error) {
    return refuse(`package.json cannot be read: ${error.message}`);
  }
}

function startCommand(app) {
  if (typeof app.scripts?.start === 'string' && app.scripts.start.trim() !== '') {
    return app.scripts.start; // without npm, which is a package of its own and would stand between app and signals
  }
  if (fs.existsSync('server.js')) {
    return 'exec node server.js';
  }
  return refuse('Nothing to start: give scripts.start in package.json, or server.js.');
}

const app = read();
if (app === null || typeof app !== 'object') {
  refuse('package.json is not an object.');
}
const missing = Object.keys(app.dependencies ?? {}).filter((name) => !fs.existsSync(`node_modules/${name}`));
if (missing.length > 0) {
  refuse(`Not in node_modules: ${missing.join(', ')}. Nothing is downloaded here: push the app with its node_modules.`);
}
const command = startCommand(app);
// A JSON string is a YAML string.
const path = 'PATH="$PWD/node_modules/.bin:$PATH"';
const web = fs.existsSync('node_modules/.bin') ? `export ${path}; ${command}` : command;
fs.writeFileSync('.deakit/release.yml', `---\ndefault_process_types:\n  web: ${JSON.stringify(web)}\n`);
console.log(`       start command: ${command}`);

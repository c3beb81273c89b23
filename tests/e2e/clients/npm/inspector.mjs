// The command line of the MCP Inspector, once for each thing to do, as scripts use it. See `../drive.py`.
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const task = JSON.parse(process.argv[2]);
const run = promisify(execFile);
const build = 'node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js';
const launcher = fileURLToPath(new URL(build, import.meta.url));
const server =
  task.road === 'stdio'
    ? { type: 'stdio', command: task.command[0], args: task.command.slice(1) }
    : {
        type: task.road === 'http' ? 'streamable-http' : 'sse',
        url: task.url,
        headers: { Authorization: `Bearer ${task.token}` },
      };
writeFileSync('inspector.json', JSON.stringify({ mcpServers: { hub: server } }));
const target = ['--config', 'inspector.json', '--server', 'hub', '--protocol-era', task.mode];

async function ask(method, ...more) {
  const how = ['--cli', '--format', 'json', '--quiet', '--method', method, ...more];
  const { stdout } = await run(process.execPath, [launcher, ...how, ...target]);
  return JSON.parse(stdout).result;
}

const pairs = (args) => Object.entries(args).map(([key, value]) => `${key}=${value}`);
const said = {
  tools: (await ask('tools/list')).tools.map((tool) => tool.name),
  resources: (await ask('resources/list')).resources.map((resource) => resource.uri),
  prompts: (await ask('prompts/list')).prompts.map((prompt) => prompt.name),
  called: [],
  read: [],
  prompted: [],
};
for (const [name, args] of task.calls) {
  const result = await ask('tools/call', '--tool-name', name, '--tool-args-json', JSON.stringify(args));
  said.called.push(result.content.map((block) => block.text).join(''));
}
for (const uri of task.reads) {
  said.read.push((await ask('resources/read', '--uri', uri)).contents.map((content) => content.text).join(''));
}
for (const [name, args] of task.gets) {
  const result = await ask('prompts/get', '--prompt-name', name, '--prompt-args', ...pairs(args));
  said.prompted.push(result.messages.map((message) => message.content.text).join(''));
}
console.log(JSON.stringify(said));

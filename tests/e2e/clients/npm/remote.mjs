// mcp-remote between a client that speaks stdio only and the hub: it carries the header that the client cannot send.
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { fileURLToPath } from 'node:url';
import { did } from './typescript_task.mjs';

const task = JSON.parse(process.argv[2]);
const proxy = fileURLToPath(new URL('node_modules/mcp-remote/dist/proxy.js', import.meta.url));
const transport = new StdioClientTransport({
  command: process.execPath,
  args: [proxy, task.url, '--transport', `${task.road}-only`, '--header', 'Authorization:${AUTHORIZATION}'],
  env: { HOME: process.env.HOME, PATH: process.env.PATH, AUTHORIZATION: `Bearer ${task.token}` },
});
const client = new Client({ name: 'behind-mcp-remote', version: '1' }, { versionNegotiation: { mode: task.mode } });
await client.connect(transport);
console.log(JSON.stringify(await did(client, task)));
await client.close();

// The TypeScript SDK's client of the first generation. See `../drive.py` for what it is given and what it prints.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { did } from './typescript_task.mjs';

const task = JSON.parse(process.argv[2]);

function transport() {
  if (task.road === 'stdio') {
    const [command, ...args] = task.command;
    return new StdioClientTransport({ command, args });
  }
  const requestInit = { headers: { Authorization: `Bearer ${task.token}` } };
  if (task.road === 'sse') {
    return new SSEClientTransport(new URL(task.url), { requestInit });
  }
  return new StreamableHTTPClientTransport(new URL(task.url), { requestInit });
}

const client = new Client({ name: 'typescript-v1', version: '1' });
await client.connect(transport());
await client.ping();
console.log(JSON.stringify(await did(client, task)));
await client.close();

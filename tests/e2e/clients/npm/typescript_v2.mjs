// The TypeScript SDK's client of the second generation, in the mode it is told. See `../drive.py`.
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
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

const mode = task.mode === 'pinned' ? { pin: '2026-07-28' } : task.mode;
const client = new Client({ name: 'typescript-v2', version: '1' }, { versionNegotiation: { mode } });
await client.connect(transport());
console.log(JSON.stringify(await did(client, task)));
await client.close();

// What both generations of the TypeScript SDK's client do, by the same names.

async function all(ask, key) {
  const found = [];
  let cursor;
  do {
    const page = await ask(cursor === undefined ? {} : { cursor });
    found.push(...page[key]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return found;
}

export async function did(client, task) {
  const said = {
    tools: (await all((page) => client.listTools(page), 'tools')).map((tool) => tool.name),
    resources: (await all((page) => client.listResources(page), 'resources')).map((resource) => resource.uri),
    prompts: (await all((page) => client.listPrompts(page), 'prompts')).map((prompt) => prompt.name),
    called: [],
    read: [],
    prompted: [],
  };
  for (const [name, args] of task.calls) {
    const result = await client.callTool({ name, arguments: args });
    said.called.push(result.content.map((block) => block.text).join(''));
  }
  for (const uri of task.reads) {
    const result = await client.readResource({ uri });
    said.read.push(result.contents.map((content) => content.text).join(''));
  }
  for (const [name, args] of task.gets) {
    const result = await client.getPrompt({ name, arguments: args });
    said.prompted.push(result.messages.map((message) => message.content.text).join(''));
  }
  return said;
}

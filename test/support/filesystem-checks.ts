// The tools of server-filesystem, and for each a check that it works through a lease: what it says is
// held against the files. Every check has a folder of its own. Knows no transport.

import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { textOf } from './http-sessions.ts';
import { type Check, type Guest, POOL } from './server-guests.ts';
import type { Offers } from './server-suite.ts';

/** A file that is no text. */
const PIXEL = Buffer.from('89504e470d0a1a0a', 'hex');
const POEM = 'one\ntwo\nthree\n';

/** A check with a folder of its own, in which there are `poem.txt`, `sub/` and `sub/pixel.png`. */
type FolderCheck = (folder: string, tell: Tell, guest: Guest) => Promise<void>;
/** Calls a tool that has to succeed: what it says, in both of the ways in which it says it. */
type Tell = (name: string, args: Record<string, unknown>) => Promise<string>;

const CHECKS: Readonly<Record<string, FolderCheck>> = {
  read_file: async (folder, tell) => {
    expect(await tell('read_file', { path: join(folder, 'poem.txt') })).toBe(POEM);
  },
  read_text_file: async (folder, tell, guest) => {
    const path = join(folder, 'poem.txt');
    expect(await tell('read_text_file', { path, head: 1 })).toBe('one');
    expect(await tell('read_text_file', { path, tail: 2 })).toContain('three');
    const refused = await guest.call('read_text_file', { path: '/etc/passwd' });
    expect(refused.isError).toBe(true);
    expect(textOf(refused)).toContain('Access denied');
  },
  read_media_file: async (folder, _tell, guest) => {
    const result = await guest.call('read_media_file', { path: join(folder, 'sub/pixel.png') });
    const image = { type: 'image', mimeType: 'image/png', data: PIXEL.toString('base64') };
    expect(result).toMatchObject({ content: [image], structuredContent: { content: [image] } });
  },
  read_multiple_files: async (folder, tell) => {
    const paths = [join(folder, 'poem.txt'), join(folder, 'none.txt')];
    const text = await tell('read_multiple_files', { paths });
    expect(text).toContain(POEM);
    expect(text).toContain('Error');
  },
  write_file: async (folder, tell) => {
    const path = join(folder, 'new.txt');
    await tell('write_file', { path, content: folder });
    expect(await readFile(path, 'utf8')).toBe(folder);
  },
  edit_file: async (folder, tell) => {
    const path = join(folder, 'poem.txt');
    const edits = [{ oldText: 'two', newText: 'deux' }];
    expect(await tell('edit_file', { path, edits, dryRun: true })).toContain('+deux');
    expect(await readFile(path, 'utf8')).toBe(POEM);
    await tell('edit_file', { path, edits });
    expect(await readFile(path, 'utf8')).toBe('one\ndeux\nthree\n');
  },
  create_directory: async (folder, tell) => {
    const path = join(folder, 'a', 'b');
    await tell('create_directory', { path });
    expect((await stat(path)).isDirectory()).toBe(true);
  },
  list_directory: async (folder, tell) => {
    const listed = (await tell('list_directory', { path: folder })).split('\n');
    expect(listed.toSorted()).toEqual(['[DIR] sub', '[FILE] poem.txt']);
  },
  list_directory_with_sizes: async (folder, tell) => {
    const listed = await tell('list_directory_with_sizes', { path: folder, sortBy: 'size' });
    expect(listed).toContain('Total: 1 files, 1 directories');
    expect(listed).toContain(`${POEM.length} B`);
  },
  directory_tree: async (folder, tell) => {
    const tree: unknown = JSON.parse(await tell('directory_tree', { path: folder }));
    expect(tree).toEqual(
      expect.arrayContaining([
        { name: 'poem.txt', type: 'file' },
        { name: 'sub', type: 'directory', children: [{ name: 'pixel.png', type: 'file' }] },
      ]),
    );
    const args = { path: folder, excludePatterns: ['sub'] };
    expect(await tell('directory_tree', args)).not.toContain('pixel');
  },
  move_file: async (folder, tell) => {
    const destination = join(folder, 'sub', 'poem.txt');
    await tell('move_file', { source: join(folder, 'poem.txt'), destination });
    expect(await readFile(destination, 'utf8')).toBe(POEM);
    await expect(stat(join(folder, 'poem.txt'))).rejects.toMatchObject({ code: 'ENOENT' });
  },
  search_files: async (folder, tell) => {
    const found = await tell('search_files', { path: folder, pattern: '**/*.png' });
    expect(found).toBe(join(folder, 'sub/pixel.png'));
  },
  get_file_info: async (folder, tell) => {
    const info = await tell('get_file_info', { path: join(folder, 'poem.txt') });
    expect(info).toContain(`size: ${POEM.length}`);
    expect(info).toContain('isFile: true');
  },
  // It asks for the roots after the handshake: they are then all that is allowed.
  list_allowed_directories: async (folder, tell) => {
    const text = await tell('list_allowed_directories', {});
    const [, ...allowed] = text.split('\n');
    expect(allowed).toHaveLength(1);
    expect(folder.startsWith(allowed[0]!)).toBe(true);
  },
};

/** All of it. `folder`: the only one that it may look into, and the root that everybody names. */
export function filesystemOffers(folder: string): Offers {
  const check = (run: FolderCheck, name: string): Check => {
    return async (guest) => {
      const own = join(folder, `${name}-${guest.name}`);
      await mkdir(join(own, 'sub'), { recursive: true });
      await writeFile(join(own, 'poem.txt'), POEM);
      await writeFile(join(own, 'sub', 'pixel.png'), PIXEL);
      await run(own, (tool, args) => tell(guest, tool, args), guest);
    };
  };
  const tools = Object.entries(CHECKS).map(([name, run]) => [name, check(run, name)] as const);
  return {
    tools: Object.fromEntries(tools),
    sessionTools: {},
    prompts: {},
    templates: {},
    features: {
      // Declared, and never sent: its tools are the same from the start.
      'tools.listChanged': async ([{ client }]) => {
        expect((await client.listTools()).tools).toHaveLength(tools.length);
      },
    },
    more: {
      'roots that change are asked for, and are what is allowed from then on': async ([guest]) => {
        await guest.client.sendRootsListChanged();
        const answers = guest.scene.isShared ? POOL : guest.name;
        expect(await tell(guest, 'list_allowed_directories', {})).toContain(folder);
        expect(guest.asked).toEqual(answers === POOL ? [] : ['roots/list']);
      },
    },
  };
}

async function tell(guest: Guest, name: string, args: Record<string, unknown>): Promise<string> {
  const result = await guest.call(name, args);
  expect(result.isError).not.toBe(true);
  expect(result.structuredContent).toEqual({ content: textOf(result) });
  return textOf(result);
}

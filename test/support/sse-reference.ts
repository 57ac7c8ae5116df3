// A second parser of event streams, by the letter of the standard, and what tests read both with.

import { SseDecoder, type SseReader, type StreamEvent } from '../../src/http/sse-decoder.ts';

/** What a reader is told: an event, or how long to wait. */
type Told = StreamEvent | { readonly retryMs: number };

/** An event, as the decoder tells it. */
export function data(text: string, fields: { id?: string; event?: string } = {}): StreamEvent {
  return { id: fields.id, event: fields.event, data: text };
}

/** A reader that writes down what it is told, in order. */
export function recordingReader(): SseReader & { readonly told: Told[] } {
  const told: Told[] = [];
  return {
    told,
    onEvent: (event) => told.push(event),
    onRetry: (retryMs) => told.push({ retryMs }),
  };
}

/** What `SseDecoder` tells of chunks. */
export function readEvents(chunks: readonly Buffer[], maxMessageBytes: number): readonly Told[] {
  const reader = recordingReader();
  const decoder = new SseDecoder(maxMessageBytes, reader);
  for (const chunk of chunks) decoder.write(chunk);
  return reader.told;
}

/** `bytes` in pieces of `size`, the last of what is left. */
export function piecesOf(bytes: Buffer, size: number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}

/**
 * The standard's algorithm, word by word, all of the stream at hand (WHATWG HTML 9.2.6). Beyond it,
 * an event without data is told for its id: the standard sets the last event id for it.
 */
export function referenceEvents(bytes: Buffer): readonly Told[] {
  const told: Told[] = [];
  const lines = new TextDecoder().decode(bytes).split(/\r\n|\r|\n/);
  // What follows the last line end is unfinished.
  lines.pop();
  let dataBuffer = '';
  let hasData = false;
  let event = '';
  let id: string | undefined;
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (line === '') {
      if (hasData || id !== undefined) {
        told.push({ id, event: event || undefined, data: dataBuffer.replace(/\n$/, '') });
      }
      dataBuffer = '';
      hasData = false;
      event = '';
      id = undefined;
    } else if (name === 'data') {
      dataBuffer += `${value}\n`;
      hasData = true;
    } else if (name === 'event') {
      event = value;
    } else if (name === 'id') {
      if (!value.includes('\0')) id = value;
    } else if (name === 'retry') {
      if (/^[0-9]+$/.test(value)) told.push({ retryMs: Number(value) });
    }
  }
  return told;
}

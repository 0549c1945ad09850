/** A WebSocket to the device gateway. */

import type { Bytes } from "../core/bytes.ts";
import type { Wire } from "../core/connection.ts";
import { CLOSE } from "../core/hello.ts";

const SUBPROTOCOL = "countersign.device";
/** A server that hasn't let us in by then never will: it closes after 5 s and 10 s itself. */
export const LOGIN_WITHIN_MS = 20_000;

export interface Listener {
  onOpen(wire: Wire): void;
  onFrame(wire: Wire, frame: Uint8Array): void;
  /** Once, also if there never was a connection; `code` is undefined then. */
  onClose(code: number | undefined, reason: string): void;
}

export interface Dialled {
  /** Ends it. The listener hears no more. */
  abandon(): void;
}

export function gateway(server: string): string {
  return `ws${server.slice("http".length)}/device`;
}

export function dial(server: string, listener: Listener): Dialled {
  const socket = new WebSocket(gateway(server), SUBPROTOCOL);
  socket.binaryType = "arraybuffer";
  const wire: Wire = {
    send: (frame: Bytes) => {
      if (socket.readyState === WebSocket.OPEN) {
        socket.send(frame);
      }
    },
    // browsers let programs close with 1000 and 3000 to 4999 only
    close: (code) => socket.close(code === CLOSE.normal || code >= 3000 ? code : CLOSE.normal),
  };
  let over = false;
  const end = (code: number | undefined, reason: string) => {
    if (!over) {
      over = true;
      listener.onClose(code, reason);
    }
  };
  socket.onopen = () => over || listener.onOpen(wire);
  socket.onmessage = ({ data }) => {
    if (!over) {
      // text is against the protocol: an empty frame says nothing, a broken one ends the connection
      listener.onFrame(wire, data instanceof ArrayBuffer ? new Uint8Array(data) : Uint8Array.of(0));
    }
  };
  // 1005 and 1006 are the browser's own words for "none"
  socket.onclose = ({ code, reason }) => end(code === 1005 || code === 1006 ? undefined : code, reason);
  return {
    abandon: () => {
      over = true;
      socket.close();
    },
  };
}

/** The camera in a dialog. */

import { useEffect, useRef, useState } from "preact/hooks";
import { type Looking, look } from "../io/camera.ts";
import { useShared } from "./context.ts";
import { Dialog } from "./dialog.tsx";

interface Props {
  /** What to say of a code that is none of ours. */
  wrong: string;
  /** Whether the text was of use; the camera looks on if not. */
  onText(text: string): boolean;
  onClose(): void;
}

export function Scanner({ wrong, onText, onClose }: Props) {
  const { words } = useShared();
  const video = useRef<HTMLVideoElement>(null);
  const [trouble, setTrouble] = useState("");

  useEffect(() => {
    let looking: Looking | undefined;
    let gone = false;
    const seen = (text: string) => {
      if (!gone && !onText(text)) {
        setTrouble(wrong);
      }
    };
    const begin = async () => {
      try {
        if (video.current) {
          looking = await look(video.current, seen);
        }
      } catch {
        setTrouble(words("scan.no_camera"));
      }
      if (gone) {
        looking?.stop();
      }
    };
    void begin();
    return () => {
      gone = true;
      looking?.stop();
    };
  }, []);

  return (
    <Dialog title={words("scan.title")} onClose={onClose}>
      <div class="finder">
        <video ref={video} muted playsInline aria-label={words("scan.video")} />
      </div>
      <p role="status" class={trouble ? "error" : "hint"}>
        {trouble || words("scan.text")}
      </p>
      <button type="button" onClick={onClose}>
        {words("close")}
      </button>
    </Dialog>
  );
}

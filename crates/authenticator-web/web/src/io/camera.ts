/** Looks for a QR code in what the camera sees. Nothing leaves the page, and no picture is kept. */

/** Frames are made this wide before they are read: enough for a code that fills a third of the picture. */
const WIDTH = 640;
/** Pause between two looks: a phone stays cool, and a person doesn't notice. */
const EVERY_MS = 120;

export interface Looking {
  stop(): void;
}

/** Shows the camera in `video` and calls back with each text read. Rejects where no camera can be used. */
export async function look(video: HTMLVideoElement, onText: (text: string) => void): Promise<Looking> {
  const constraints = { video: { facingMode: "environment", width: { ideal: 1280 } }, audio: false };
  const [stream, { default: decode }] = await Promise.all([
    navigator.mediaDevices.getUserMedia(constraints),
    import("qr/decode.js"),
  ]);
  video.srcObject = stream;
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;

  const glance = () => {
    const { videoWidth, videoHeight } = video;
    if (context && videoWidth > 0) {
      canvas.width = Math.min(WIDTH, videoWidth);
      canvas.height = Math.round((canvas.width * videoHeight) / videoWidth);
      context.drawImage(video, 0, 0, canvas.width, canvas.height);
      const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
      try {
        onText(decode({ data, width, height }));
      } catch {
        // no code in this frame
      }
    }
    if (!stopped) {
      timer = setTimeout(glance, EVERY_MS);
    }
  };

  const stop = () => {
    stopped = true;
    clearTimeout(timer);
    video.srcObject = null;
    for (const track of stream.getTracks()) {
      track.stop();
    }
  };
  try {
    await video.play();
  } catch (error) {
    stop();
    throw error;
  }
  glance();
  return { stop };
}

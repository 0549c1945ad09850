/** What a camera would read off the screen. */

import type { Browser, Locator } from "playwright-core";
import decodeQR from "qr/decode.js";

/** The text of the QR code that `code` shows, decoded from its pixels as the web authenticator does it. */
export async function readCode(browser: Browser, code: Locator): Promise<string> {
  const png = (await code.screenshot({ scale: "css" })).toString("base64");
  // a page of its own: the one with the code lets no picture of ours in
  const tab = await browser.newPage();
  const picture = await tab.evaluate(async (png) => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.width;
    canvas.height = image.height;
    const context = canvas.getContext("2d");
    context?.drawImage(image, 0, 0);
    const data = context?.getImageData(0, 0, image.width, image.height).data ?? [];
    return { width: image.width, height: image.height, data: Array.from(data) };
  }, png);
  await tab.close();
  return decodeQR({ ...picture, data: Uint8ClampedArray.from(picture.data) });
}

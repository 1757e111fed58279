// Measures the report in each frame and writes down, as JSON, what it found.
function channels(color) {
  const parts = color.match(/[\d.]+/g);
  return parts === null || color === "none" ? null : parts.map(Number);
}

// WCAG 2.2, "relative luminance" and "contrast ratio".
function luminance([red, green, blue]) {
  const linear = (value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

function contrast(a, b) {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

function over(top, below) {
  const alpha = top.length < 4 ? 1 : top[3];
  return [0, 1, 2].map((i) => top[i] * alpha + below[i] * (1 - alpha));
}

// What is behind an element: the backgrounds of all around it, laid one over the other.
function behind(view, element, canvas) {
  const layers = [];
  for (let at = element; at !== null; at = at.parentElement) {
    layers.push(channels(view.getComputedStyle(at).backgroundColor));
  }
  return layers.reverse().reduce((below, layer) => over(layer, below), canvas);
}

function measure(frame) {
  const view = frame.contentWindow;
  const page = view.document;
  const dark = view.matchMedia("(prefers-color-scheme: dark)").matches;
  // Details are text too.
  page.querySelectorAll("details").forEach((details) => { details.open = true; });
  const canvas = dark ? [18, 18, 18] : [255, 255, 255];
  let [least, faintest, texts] = [Infinity, "", 0];
  const walker = page.createTreeWalker(page.body, view.NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const element = node.parentElement;
    const words = node.textContent.trim();
    const svg = element.closest("svg");
    const tag = element.tagName.toLowerCase();
    if (words === "" || ["title", "desc", "style", "script"].includes(tag)) continue;
    const style = view.getComputedStyle(element);
    if (svg === null && element.getClientRects().length === 0) continue;
    let background = behind(view, svg === null ? element : svg.parentElement, canvas);
    let color = channels(style.color);
    if (svg !== null) {
      color = channels(style.fill);
      const ground = svg.querySelector("rect");
      const fill = ground === null ? null : channels(view.getComputedStyle(ground).fill);
      if (fill !== null) background = over(fill, background);
    }
    if (color === null) continue;
    texts += 1;
    const ratio = contrast(over(color, background), background);
    if (ratio < least) {
      least = ratio;
      faintest = `${words.slice(0, 60)} (${tag}: ${style.color} ${style.fill} on ${background})`;
    }
  }
  let [widest, right] = ["", 0];
  for (const element of page.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (right < box.right && element.closest(".scroll") === null) {
      right = box.right;
      widest = `${element.tagName} ${element.className} to ${box.right}`;
    }
  }
  return {
    dark,
    texts,
    contrast: least,
    faintest,
    scroll_width: Math.max(page.documentElement.scrollWidth, page.body.scrollWidth),
    widest,
  };
}

window.addEventListener("load", () => {
  const frames = [...document.querySelectorAll("iframe")];
  document.getElementById("found").textContent = JSON.stringify(frames.map(measure));
});

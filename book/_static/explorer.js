// Shows a face, the relevance maps of two networks, the face masked by them, and what every network says of it.
// The state is in the address of the page, after "#", so that a view can be kept and shared.
(function () {
  "use strict";
  const box = document.querySelector(".explorer");
  if (!box) return;
  const about = JSON.parse(box.dataset.explorer), [width, height] = about.size;
  const form = box.querySelector("form");
  const NAMES = ["face", "a", "b", "rule", "mode", "p"];
  const waiting = {}, faces = {};

  window.explorerFace = (index, data) => waiting[index](data);

  // ---- what belongs to one face is read when it is first asked for

  function picture(png) {
    const image = new Image();
    image.src = "data:image/png;base64," + png;
    return image.decode().then(() => image);
  }

  function load(index) {
    faces[index] = faces[index] || new Promise((resolve, reject) => {
      waiting[index] = resolve;
      const script = document.createElement("script");
      script.src = about.scripts[index];
      script.onerror = reject;
      document.head.append(script);
    }).then(async (data) => {
      const names = ["pixels", "filling", "maps", "levels"];
      const images = await Promise.all(names.map((name) => picture(data[name])));
      return { ...data, images: Object.fromEntries(names.map((name, i) => [name, images[i]])) };
    });
    return faces[index];
  }

  // ---- state

  function state() {
    const fields = new FormData(form), now = Object.fromEntries(NAMES.map((name) => [name, fields.get(name)]));
    return {
      ...now,
      face: about.faces.indexOf(now.face), a: about.models.indexOf(now.a), b: about.models.indexOf(now.b),
      rule: about.rules.indexOf(now.rule), mode: about.modes.indexOf(now.mode), p: about.percents.indexOf(Number(now.p)),
    };
  }

  function choose(name, value) {
    const option = form.querySelector(`[name=${name}] option[value="${CSS.escape(value)}"]`);
    const radio = form.querySelector(`input[name=${name}][value="${CSS.escape(value)}"]`);
    if (option) option.selected = true;
    if (radio) radio.checked = true;
  }

  function restore() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const name of NAMES) if (wanted.has(name)) choose(name, wanted.get(name));
  }

  function remember() {
    const fields = new FormData(form);
    history.replaceState(null, "", "#" + new URLSearchParams(NAMES.map((name) => [name, fields.get(name)])));
  }

  // ---- what is shown

  // One tile of a table of pictures, as pixels.
  function tile(image, column, row) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = about.size;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, column * width, row * height, width, height, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  }

  function draw(canvas, pixels, text) {
    [canvas.width, canvas.height] = about.size;
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    canvas.setAttribute("aria-label", text);
  }

  // Kept pixels are the face's, the others the filling's; a pixel's level says from which share on the mask holds it.
  function masked(images, now, model) {
    const pixels = tile(images.pixels, 0, 0), other = tile(images.filling, 0, 0), level = tile(images.levels, now.rule, model);
    const keep = about.modes[now.mode] === "keep";
    for (let i = 0; i < pixels.data.length; i += 4) {
      if ((level.data[i] <= now.p) !== keep) for (let c = 0; c < 3; c += 1) pixels.data[i + c] = other.data[i + c];
    }
    return pixels;
  }

  function decision(data, now, model, source) {
    let [classes, sure] = data.whole, at = model;
    if (source !== null) {
      [classes, sure] = data.masked;
      at = (((model * about.models.length + source) * about.rules.length + now.rule) * about.modes.length + now.mode)
        * about.percents.length + now.p;
    }
    const name = about.classes[about.tasks[model]][classes[at]];
    return { class: classes[at], truth: data.truth[model], name, sure: sure[at] / 1000, text: `${name} (${(sure[at] / 1000).toFixed(2)})` };
  }

  function cell(said, whole) {
    const td = document.createElement("td"), bar = document.createElement("span");
    td.append(said.text);
    if (said.truth >= 0) td.append(said.class === said.truth ? " ✓" : " ✗");
    if (said.class !== whole.class) td.className = "changed";
    bar.className = "explorer-bar";
    bar.style.width = `${100 * said.sure}%`;
    td.append(bar);
    return td;
  }

  function show(data, now) {
    const doing = `${about.percents[now.p]} % ${about.modes[now.mode] === "keep" ? "kept" : "removed"}`;
    const sums = [];
    for (const letter of ["a", "b"]) {
      const model = now[letter], view = box.querySelector(`[data-view=${letter}]`), name = about.models[model];
      const whole = decision(data, now, model, null), own = decision(data, now, model, model);
      const same = about.models.filter((_, k) => decision(data, now, k, model).class === decision(data, now, k, null).class);
      view.querySelector(".explorer-title").textContent = `${letter.toUpperCase()}: ${name}`;
      draw(view.querySelector("[data-picture=map]"), tile(data.images.maps, now.rule, model),
        `Relevance of ${about.faces[now.face]} for ${name}, which says ${whole.text}`);
      draw(view.querySelector("[data-picture=masked]"), masked(data.images, now, model),
        `${about.faces[now.face]} with the most relevant ${doing}, by ${name}`);
      view.querySelector(".explorer-answer").textContent =
        `Whole face: ${whole.text}. With ${doing}: ${own.text}.`;
      box.querySelector(`[data-head=${letter}]`).textContent = `${doing} by ${letter.toUpperCase()}`;
      sums.push(`${letter.toUpperCase()}, ${name}: ${whole.text}, masked ${own.text}; `
        + `${same.length} of ${about.models.length} networks keep their decision.`);
    }
    box.querySelector("tbody").replaceChildren(...about.models.map((name, model) => {
      const row = document.createElement("tr"), head = document.createElement("th");
      const whole = decision(data, now, model, null);
      head.scope = "row";
      head.textContent = name + [" (A)", " (B)"].filter((_, i) => model === [now.a, now.b][i]).join("");
      row.append(head, cell(whole, whole), ...[now.a, now.b].map((source) => cell(decision(data, now, model, source), whole)));
      return row;
    }));
    box.querySelector(".explorer-status").textContent =
      `${about.faces[now.face]}, rule ${about.rules[now.rule].replaceAll("_", " ")}, ${doing}. ${sums.join(" ")}`;
    box.dataset.shown = location.hash || "#";
  }

  async function update() {
    const now = state();
    try {
      const data = await load(now.face);
      if (JSON.stringify(state()) === JSON.stringify(now)) show(data, now);
    } catch (error) {
      box.querySelector(".explorer-status").textContent = `${about.scripts[now.face]} could not be read.`;
    }
  }

  const other = about.models.findIndex((name, k) => about.tasks[k] === about.tasks[0] && name.split("/")[0] !== about.models[0].split("/")[0]);
  const first = [about.faces[0], about.models[0], about.models[Math.max(other, 0)], about.rules[0], about.modes[0],
    String(about.percents[Math.min(1, about.percents.length - 1)])];
  NAMES.forEach((name, i) => choose(name, first[i]));
  restore();
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => { remember(); update(); });
  window.addEventListener("hashchange", () => { restore(); update(); });
  update();
})();

// Draws every chart of the page with Vega-Embed, in the colours of the page, at the width of the page.
(function () {
  "use strict";
  const root = document.documentElement;
  root.classList.add("charts-live");
  const charts = Array.from(document.querySelectorAll("script[data-chart]"), (script) => ({
    element: document.getElementById(script.dataset.chart),
    spec: JSON.parse(script.textContent),
    view: null,
  }));

  function colours() {
    const style = getComputedStyle(root);
    const get = (name) => style.getPropertyValue(name).trim();
    const text = get("--pst-color-text-base"), muted = get("--pst-color-text-muted"), line = get("--pst-color-border");
    return {
      background: "transparent",
      axis: { labelColor: text, titleColor: text, gridColor: line, gridOpacity: 0.6, domainColor: muted, tickColor: muted },
      legend: { labelColor: text, titleColor: text },
      header: { labelColor: text, titleColor: text },
      title: { color: text },
      text: { color: text },
      rule: { color: muted },
    };
  }

  // On a phone: one column of legend entries, short gradients, small numbers in matrices.
  const NARROW = 480;
  function small(spec) {
    const numbers = (layer) => (layer.mark?.type === "text" ? { ...layer, mark: { ...layer.mark, fontSize: 8 } } : layer);
    const inner = spec.spec ? { spec: small(spec.spec) } : { layer: spec.layer?.map(numbers) };
    const config = spec.config && { config: { ...spec.config, legend: { ...spec.config.legend, columns: 1, gradientLength: 120, labelFontSize: 10, symbolSize: 50 } } };
    return { ...spec, ...inner, ...config };
  }

  // Panels side by side as long as each keeps a readable width.
  function fit(spec, width, narrower) {
    if (width < NARROW) spec = small(spec);
    if (!spec.facet || typeof spec.spec?.width !== "number") return spec;
    const columns = Math.min(spec.columns || 1, Math.max(1, Math.floor(width / 240)));
    const panel = Math.max(90, Math.floor(width / columns) - 65 - narrower);
    return { ...spec, columns, spec: { ...spec.spec, width: panel } };
  }

  async function draw(chart) {
    const element = chart.element, width = element.clientWidth;
    const options = { config: colours(), renderer: "svg", actions: false };
    if (width < NARROW) options.config.axisX = { titleAnchor: "end", titleFontSize: 11, titleLimit: width - 16 };
    // how wide axes and titles are is known only once they are drawn: panels that do not fit are drawn narrower
    for (let tries = 0, narrower = 0, excess = 1; tries < 4 && excess > 0; tries += 1) {
      if (chart.view) chart.view.finalize();
      const spec = fit(chart.spec, width, narrower);
      chart.view = await window.vegaEmbed(element, spec, options);
      excess = chart.spec.facet ? element.scrollWidth - width : 0;
      narrower += Math.ceil(excess / spec.columns) + 2;
    }
    describe(element);
    share(chart);
  }

  // The chart is one image with one description; its data are in the table below it.
  function describe(element) {
    element.setAttribute("role", "img");
    element.removeAttribute("aria-roledescription");
    if (element.scrollWidth > element.clientWidth + 1) element.tabIndex = 0;
    for (const svg of element.querySelectorAll("svg")) {
      svg.setAttribute("aria-hidden", "true");
      for (const part of svg.querySelectorAll("[role]")) {
        ["aria-label", "role", "aria-roledescription"].forEach((name) => part.removeAttribute(name));
      }
    }
  }

  // What is picked in one chart is picked in every other chart of the page that shows it, or part of it: families
  // are named pretraining/task and networks pretraining/task/seed, so "faces" is also "faces/gender/0".
  function picks(spec) {
    const params = spec.params || [];
    return params.find((param) => param.name === "pick")?.select.fields[0];
  }

  const holds = (whole, part) => part === whole || String(part).startsWith(`${whole}/`);

  function alike(other, values) {
    const field = picks(other.spec), rows = Object.values(other.spec.datasets || {}).flat();
    const entries = [...new Set(rows.map((row) => row[field]))];
    return entries.filter((entry) => values.some((value) => holds(value, entry) || holds(entry, value)));
  }

  let sharing = false;
  function share(chart) {
    if (!picks(chart.spec)) return;
    chart.view.view.addDataListener("pick_store", (name, rows) => {
      if (sharing) return;
      sharing = true;
      const values = rows.flatMap((row) => row.values);
      const others = charts.filter((other) => other !== chart && other.view && picks(other.spec));
      Promise.all(others.map((other) => {
        const fields = [{ type: "E", field: picks(other.spec) }];
        const unit = rows[0]?.unit || "";
        return other.view.view.data("pick_store", alike(other, values).map((value) => ({ unit, fields, values: [value] }))).runAsync();
      })).finally(() => { sharing = false; });
    });
  }

  async function drawAll() {
    delete root.dataset.charts;
    await Promise.all(charts.map(draw));
    root.dataset.charts = "drawn";
  }

  let timer = null;
  function later() {
    clearTimeout(timer);
    timer = setTimeout(drawAll, 150);
  }

  // the theme decides between light and dark when the document is ready; charts follow it
  document.addEventListener("DOMContentLoaded", () => {
    drawAll();
    new MutationObserver(later).observe(root, { attributes: true, attributeFilter: ["data-theme"] });
    let width = window.innerWidth;
    window.addEventListener("resize", () => {
      if (window.innerWidth !== width) { width = window.innerWidth; later(); }
    });
  });
})();

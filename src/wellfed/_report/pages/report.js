"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const colors = () => dark.matches
    ? { ink: "#e7eaee", line: "#3a424d", box: "#1d2229" }
    : { ink: "#1c2128", line: "#d5d9df", box: "#ffffff" };
  const themed = (layout) => {
    const { ink, line, box } = colors();
    const out = { ...layout, font: { ...layout.font, color: ink },
                  hoverlabel: { ...layout.hoverlabel, bgcolor: box, bordercolor: line, font: { color: ink } } };
    for (const key of Object.keys(out)) {
      if (/^[xy]axis/.test(key)) {
        out[key] = { ...out[key], gridcolor: line, linecolor: line, zerolinecolor: line };
      }
    }
    return out;
  };
  const config = { displayModeBar: false, responsive: true };
  const draw = () => {
    for (const [name, figure] of Object.entries(figures)) {
      const place = document.getElementById("chart-" + name);
      if (place) Plotly.react(place, figure.data, themed(figure.layout), config);
    }
  };
  draw();
  dark.addEventListener("change", draw);
})();

// Gives the value of a row of the state the input of its type. Without it, values are typed as text.
const INPUTS = { date: ["date", /^\d{4}-\d\d-\d\d$/], datetime: ["datetime-local", /^\d{4}-\d\d-\d\dT\d\d:\d\d/] };

function fit(row) {
  const [type, value] = ["type", "value"].map((name) => row.querySelector(`[name$="-${name}"]`));
  const [input, pattern] = INPUTS[type.value] ?? ["text", /^/];
  // What was typed is never dropped: an input for dates shows nothing else.
  if (value.value === "" || pattern.test(value.value)) value.type = input;
  value.inputMode = ["number", "decimal"].includes(type.value) ? "decimal" : "";
}

for (const row of document.querySelectorAll("[data-fc-rows] tbody tr")) {
  fit(row);
  row.addEventListener("change", () => fit(row));
}

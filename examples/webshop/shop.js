// The page: shows the books, sends an order, and lists what happens to it as it happens.

const form = document.querySelector("form");
const news = document.querySelector("#news");

for (const [book, cents] of Object.entries(await (await fetch("/books")).json())) {
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", name: "book", value: book });
  label.append(box, ` ${book}, ${(cents / 100).toFixed(2)}`);
  document.querySelector("#books").append(label);
}

form.addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  news.replaceChildren();
  const books = new FormData(form).getAll("book");
  const headers = { "content-type": "application/json", "idempotency-key": crypto.randomUUID() };
  const answer = await fetch("/orders", { method: "POST", headers, body: JSON.stringify({ books }) });
  if (!answer.ok) {
    tell("failed", "Choose a book first.");
    return;
  }
  follow((await answer.json()).events);
});

// A connection that breaks is opened again by the browser, which says what it heard last: nothing is missed or told twice.
function follow(address) {
  const source = new EventSource(address);
  for (const kind of ["progress", "failed", "done"]) {
    source.addEventListener(kind, ({ data }) => {
      const { step, words } = JSON.parse(data);
      tell(kind, `${step}: ${words}`);
      if (kind !== "progress") source.close();
    });
  }
}

function tell(kind, words) {
  const line = document.createElement("li");
  line.className = kind;
  line.textContent = words;
  news.append(line);
}

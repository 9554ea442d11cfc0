// Sends the token, and goes where one wanted to be.

const form = document.getElementById("form");
const wrong = document.getElementById("wrong");
const token = document.getElementById("token");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  wrong.textContent = "";
  try {
    const answer = await fetch("/login", { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (answer.ok) {
      const next = new URLSearchParams(location.search).get("next") ?? "/";
      location.assign(/^\/(?![/\\])/.test(next) ? next : "/");
      return;
    }
    wrong.textContent = (await answer.json()).error;
  } catch {
    wrong.textContent = "The dashboard does not answer; try again.";
  }
  button.disabled = false;
  token.select();
});

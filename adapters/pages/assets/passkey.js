// Asks the browser's authenticator for what the form's data-passkey says, and
// sends its answer with the form. The options are the server's.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("form[data-passkey]");
  const problem = form.querySelector("[data-passkey-problem]");
  const button = form.querySelector("[data-passkey-go]");
  if (!window.PublicKeyCredential || !PublicKeyCredential.parseCreationOptionsFromJSON) {
    problem.textContent = "This browser does not know passkeys.";
    return;
  }
  const options = JSON.parse(form.dataset.options).publicKey;
  async function ask() {
    problem.hidden = true;
    button.disabled = true;
    try {
      const answer = form.dataset.passkey === "create"
        ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
        : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
      form.elements.passkey.value = JSON.stringify(answer.toJSON());
      form.submit();
    } catch (e) {
      problem.textContent = e.name === "NotAllowedError" ? "The authenticator did not answer, or you said no. Try again." : e.message;
      problem.hidden = false;
      button.disabled = false;
    }
  }
  button.addEventListener("click", ask);
  ask();
});

// What letters bring: an invitation, a new password, the proof of an address.
import { story, base } from "./harness.mjs";

await story(async ({ as, fresh, look, check }) => {
  // link waits for a letter and returns the path of its link, with the key.
  async function link(to, subject) {
    for (let i = 0; i < 150; i++) {
      const all = await (await fetch(process.env.LETTERS)).json();
      const mine = all.filter(m => m.To === to && m.Subject === subject);
      if (mine.length) {
        const found = new URL(mine.at(-1).Body.match(/https:\/\/\S+#\S+/)[0]);
        return found.pathname + found.hash;
      }
      await new Promise(done => setTimeout(done, 100));
    }
    throw new Error(`no letter ${subject} to ${to}`);
  }
  // No request of a page may carry what stands in the fragment.
  async function watched() {
    const page = await fresh();
    page.sent = [];
    page.on("request", r => page.sent.push(r.url() + " " + (r.headers().referer || "")));
    return page;
  }

  const owner = await as("owner");
  await owner.goto(base + "/settings/workspace/users");
  await owner.fill("#f-username", "ida");
  await owner.fill("#f-email", "ida@example.com");
  await owner.check("text=invite by e-mail");
  await owner.click("button:text-is('Add')");
  await owner.waitForURL("**done=invited");

  const ida = await watched();
  const invitation = await link("ida@example.com", "Your new account");
  await ida.goto(base + invitation);
  check(ida.url() === base + "/invite", "the key leaves the address: " + ida.url());
  await look(ida, "invite");
  await ida.fill("#f-password", "short");
  await ida.fill("#f-repeat", "short");
  await ida.click("button:has-text('Choose it')");
  check(await ida.locator("#f-password[aria-invalid=true]").count() === 1, "a bad password is told beside its field");
  await ida.fill("#f-password", "nine slow barges on the canal");
  await ida.fill("#f-repeat", "nine slow barges on the can");
  await ida.click("button:has-text('Choose it')");
  check(await ida.locator("#f-repeat[aria-invalid=true]").count() === 1, "and one that differs from the second");
  await ida.fill("#f-password", "nine slow barges on the canal");
  await ida.fill("#f-repeat", "nine slow barges on the canal");
  await ida.click("button:has-text('Choose it')");
  await ida.waitForURL("**/sign-in?done=account");
  check(!ida.sent.some(u => u.includes(invitation.split("#")[1])), "no request carried the key");
  await ida.goto(base + invitation);
  await ida.fill("#f-password", "nine slow barges on the canal");
  await ida.fill("#f-repeat", "nine slow barges on the canal");
  await ida.click("button:has-text('Choose it')");
  check((await ida.textContent("main")).includes("wrong, used or too old"), "an invitation is good once");
  await look(ida, "invite-used");

  // She forgets it.
  await ida.goto(base + "/sign-in");
  await ida.click("text=Forgot the password?");
  await look(ida, "recover");
  await ida.fill("#f-email", "ida@example.com");
  await ida.click("button:has-text('Send the link')");
  check((await ida.textContent("[role=status]")).includes("If there is an account"), "the answer gives nobody away");
  await look(ida, "recover-sent");
  const recovery = await link("ida@example.com", "Set a new password");
  await ida.goto(base + recovery);
  check(await ida.locator("#f-email").isHidden() && await ida.locator("#f-password").isVisible(), "the link opens the second form");
  await look(ida, "recover-key");
  await ida.fill("#f-password", "three blue kites above the dune");
  await ida.fill("#f-repeat", "three blue kites above the dune");
  await ida.click("button:has-text('Change the password')");
  await ida.waitForURL("**/sign-in?done=password");
  await look(ida, "sign-in-done");
  check(!ida.sent.some(u => u.includes(recovery.split("#")[1])), "no request carried the key");
  await ida.fill("#username", "ida");
  await ida.fill("#password", "three blue kites above the dune");
  await ida.click("button:has-text('Sign in')");
  await ida.waitForURL(u => !u.pathname.startsWith("/sign-in"));

  // Another address is proved by a letter.
  await ida.goto(base + "/settings/account");
  check((await ida.textContent("main")).includes("Proved by a letter."), "the first address is proved");
  await ida.fill("#f-email", "ida2@example.com");
  await ida.click("button:text-is('Save')");
  await ida.waitForURL("**done=saved");
  check((await ida.textContent("main")).includes("Not proved yet."), "the new one is not");
  await ida.goto(base + await link("ida2@example.com", "Confirm your e-mail address"));
  await look(ida, "verify-email");
  await ida.click("button:has-text('this address is mine')");
  await ida.waitForURL("**/sign-in?done=address");
  await ida.goto(base + "/settings/account");
  check((await ida.textContent("main")).includes("Proved by a letter."), "until the letter is answered");

  // Without a script the key is pasted.
  const plain = await fresh({ javaScriptEnabled: false });
  await plain.goto(base + "/recover");
  await plain.click("summary");
  await plain.fill("#f-token", "pok_nothing");
  await plain.fill("#f-password", "three blue kites above the dune");
  await plain.fill("#f-repeat", "three blue kites above the dune");
  await plain.click("button:has-text('Change the password')");
  check((await plain.textContent("#h-token")).includes("wrong, used or too old"), "a wrong key is told beside its field");
});

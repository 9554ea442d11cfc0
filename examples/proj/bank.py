"""A bank that tells its customers what happened to their accounts, over two channels."""

from proj.app import app


@app.task(rate_limit="100/s")  # what the provider takes, from all workers together
def send_sms(account: int, message: str) -> str:
    """Sends a text message; returns what was said."""
    return f"SMS to {account}: {message}"


@app.task
def send_whatsapp(account: int, message: str) -> str:
    """Sends a chat message; returns what was said."""
    return f"WhatsApp to {account}: {message}"


@app.task
def send_whatsapp_after(sent_before: str, account: int, message: str) -> list[str]:
    """Sends a chat message once something else was sent, and returns both."""
    return [sent_before, send_whatsapp(account, message)]


@app.task
def count_sms(sent: list[str]) -> int:
    """Counts the text messages among what was sent."""
    return sum(message.startswith("SMS") for message in sent)


@app.task
def count_whatsapp(sent: list[str]) -> int:
    """Counts the chat messages among what was sent."""
    return sum(message.startswith("WhatsApp") for message in sent)

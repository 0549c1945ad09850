//! The device gateway: WebSocket in front of session and app.

//! Words that mean something to more than one endpoint.

/// `$own` after what begins every list: nothing, white space, and the parameters of a sign-in.
macro_rules! words {
    ($($own:literal),* $(,)?) => {
        &[
            "", " ", "client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce",
            "id_token_hint", "claims", "ui_locales", "code", "id_token", "query", "form_post", "openid",
            "https://evil.example/", "{}", "[]", "{\"id_token\":[]}", "eyJhbGciOiJub25lIn0.e30.", "\0",
            "\r\nLocation: https://evil.example", "\"><script>",
            $($own),*
        ]
    };
}

pub(crate) use words;

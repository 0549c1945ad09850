//! Notices: kept in the transaction of what they tell, read by devices that haven't had them.

use domain::notice::{KEPT_PER_KIND, Notice, NoticeKind, Tell};
use sqlx::{Row as _, SqliteConnection};
use statement::{DeviceId, Timestamp};

use crate::codec::{NoSuch, decode, int, time, uint};

/// Keeps a notice, and drops what is more than is kept.
pub(crate) async fn keep(
    conn: &mut SqliteConnection,
    tell: &Tell,
    now: Timestamp,
) -> sqlx::Result<()> {
    let id: i64 = sqlx::query(
        "INSERT INTO notices (user_id, kind, at, text) VALUES ($1, $2, $3, $4) RETURNING id",
    )
    .bind(tell.user.as_bytes().as_slice())
    .bind(tell.kind.code())
    .bind(int(now.millis()))
    .bind(tell.text.as_str())
    .fetch_one(&mut *conn)
    .await?
    .try_get("id")?;
    sqlx::query(
        "DELETE FROM notices WHERE user_id = $1 AND kind = $2 AND id <=
             (SELECT id FROM notices WHERE user_id = $1 AND kind = $2 ORDER BY id DESC LIMIT 1 OFFSET $3)",
    )
    .bind(tell.user.as_bytes().as_slice())
    .bind(tell.kind.code())
    .bind(KEPT_PER_KIND)
    .execute(&mut *conn)
    .await?;
    if let Some(device) = tell.except {
        sqlx::query("UPDATE devices SET noticed = $2 WHERE id = $1")
            .bind(device.as_bytes().as_slice())
            .bind(id)
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Notices that a device hasn't had yet.
pub(crate) async fn unseen(
    conn: &mut SqliteConnection,
    device: DeviceId,
    after: u64,
    limit: u32,
) -> sqlx::Result<Vec<Notice>> {
    let rows = sqlx::query(
        "SELECT n.id, n.kind, n.at, n.text FROM devices d JOIN notices n ON n.user_id = d.user_id
         WHERE d.id = $1 AND n.id > d.noticed AND n.id > $2 ORDER BY n.id LIMIT $3",
    )
    .bind(device.as_bytes().as_slice())
    .bind(int(after))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let notice = |row: &sqlx::sqlite::SqliteRow| {
        let kind = NoticeKind::from_code(row.try_get("kind")?);
        Ok(Notice {
            id: Some(uint(row.try_get("id")?)),
            kind: kind.ok_or_else(|| decode("kind", NoSuch("kind of notice")))?,
            at: time(row.try_get("at")?),
            text: row.try_get("text")?,
        })
    };
    rows.iter().map(notice).collect()
}

/// Notes how far a device has come. A notice that isn't its user's, or isn't there any more, changes nothing.
pub(crate) async fn see(
    conn: &mut SqliteConnection,
    device: DeviceId,
    up_to: u64,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE devices SET noticed = $2 WHERE id = $1 AND noticed < $2
             AND EXISTS (SELECT 1 FROM notices n WHERE n.id = $2 AND n.user_id = devices.user_id)",
    )
    .bind(device.as_bytes().as_slice())
    .bind(int(up_to))
    .execute(conn)
    .await?;
    Ok(())
}

/*
 * tests/unit/test_smtp_client.c - the client machine against scripted servers: a table of
 * dialogues.
 */
#include "smtp_client_rig.h"

#define HELLO      "S: 220 mx.example ESMTP\nC: EHLO me.example\n"
#define PLAIN_EHLO HELLO "S: 250 mx.example\n"
#define PIPE_EHLO  HELLO "S: 250-mx.example\nS: 250 PIPELINING\n"
#define CHUNK_EHLO HELLO "S: 250-mx.example\nS: 250-PIPELINING\nS: 250 CHUNKING\n"
#define MAIL       "C: MAIL FROM:<s@x.example>\n"
#define RCPT_A     "C: RCPT TO:<a@x.example>\n"
#define RCPT_B     "C: RCPT TO:<b@x.example>\n"
#define BODY_SENT  "C: Subject: x\nC: \nC: hi\nC: .\n"

static const struct dialogue dialogues[] = {
    /* the way to ready */
    {"greeting of many lines", 0, 0, 1, BODY,
     "S: 220-mx.example ESMTP\nS: 220-no spam\nS: 220 go on\nC: EHLO me.example\nS: 250 ok\n",
     "ready"},
    {"greeting says no", 0, 1, 1, BODY, "S: 554 5.7.1 not you\nC: QUIT\n", "failed greeting 554"},
    {"greeting says later", 0, 1, 1, BODY, "S: 451 try later\nC: QUIT\n", "failed greeting 451"},
    {"greeting 421", 0, 1, 1, BODY, "S: 421 too busy\n", "failed greeting 421"},
    {"greeting of the wrong kind", 0, 1, 1, BODY, "S: 250 hello\n", "failed greeting 0"},
    {"greeting is not SMTP", 0, 1, 1, BODY, "S: SSH-2.0-OpenSSH\n", "failed greeting 0"},
    {"HELO when EHLO is unknown", 0, 1, 1, BODY,
     HELLO "S: 502 what\nC: HELO me.example\nS: 250 ok\n" MAIL "S: 250 ok\n" RCPT_A
           "S: 250 ok\nC: DATA\nS: 354 go\n" BODY_SENT "S: 250 queued\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"EHLO later", 0, 1, 1, BODY, HELLO "S: 450 later\nC: QUIT\n", "failed ehlo 450"},
    {"HELO refused too", 0, 1, 1, BODY, HELLO "S: 550 no\nC: HELO me.example\nS: 550 no\nC: QUIT\n",
     "failed ehlo 550"},
    {"LHLO has no fallback", LMTP, 1, 1, BODY, "S: 220 x\nC: LHLO me.example\nS: 500 no\nC: QUIT\n",
     "failed ehlo 500"},
    {"replies before their commands", ONE_WRITE, 1, 1, BODY, "S: 220 x\nS: 250 ok\n",
     "failed ehlo 0"},
    /* one message */
    {"lock step", NO_PIPELINING, 1, 2, BODY,
     PIPE_EHLO MAIL "S: 250 ok\n" RCPT_A "S: 250 ok\n" RCPT_B
                    "S: 251 ok\nC: DATA\nS: 354 go\n" BODY_SENT "S: 250 2.0.0 queued\n",
     "ready; rcpt 0 250; rcpt 1 251; may; done dot 250; ready"},
    {"pipelined", 0, 1, 2, BODY,
     PIPE_EHLO MAIL RCPT_A RCPT_B "C: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                                  "S: 250 queued\n",
     "ready; rcpt 0 250; rcpt 1 250; may; done dot 250; ready"},
    {"two messages on one session", 0, 2, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                           "S: 250 queued\n" MAIL RCPT_A
                           "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                           "S: 554 spam\n!quit\nC: QUIT\nS: 221 bye\n",
     "ready; rcpt 0 250; may; done dot 250; ready; rcpt 0 250; may; done dot 554; ready; "
     "failed quit 221"},
    {"BDAT", 0, 1, 2, BODY,
     CHUNK_EHLO MAIL RCPT_A RCPT_B
     "S: 250 ok\nS: 550 no\nS: 250 ok\nC: BDAT 18 LAST\nC: Subject: x\nC: \nC: hi\nS: 250 queued\n",
     "ready; rcpt 0 550; rcpt 1 250; may; done dot 250; ready"},
    {"BDAT switched off", NO_CHUNKING, 1, 1, BODY,
     CHUNK_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                            "S: 250 queued\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"BDAT without pipelining", NO_PIPELINING, 1, 1, BODY,
     CHUNK_EHLO MAIL "S: 250 ok\n" RCPT_A "S: 250 ok\nC: BDAT 18 LAST\nC: Subject: x\nC: \nC: hi\n"
                     "S: 250 queued\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"BDAT refused is reset before the next", 0, 2, 1, BODY,
     CHUNK_EHLO MAIL RCPT_A "S: 250 ok\nS: 250 ok\nC: BDAT 18 LAST\nC: Subject: x\nC: \nC: hi\n"
                            "S: 552 5.3.4 too big\nC: RSET\n" MAIL RCPT_A
                            "S: 250 ok\nS: 250 ok\nS: 550 no\n",
     "ready; rcpt 0 250; may; done dot 552; ready; rcpt 0 550; done rcpt 550; ready"},
    {"BDAT of the wrong size", WRONG_SIZE, 1, 1, BODY,
     CHUNK_EHLO MAIL RCPT_A "S: 250 ok\nS: 250 ok\nC: BDAT 19 LAST\nC: Subject: x\nC: \nC: hi\n",
     "ready; rcpt 0 250; may; done body 0; failed body 0"},
    {"body cannot be read", PULL_FAILS, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n",
     "ready; rcpt 0 250; may; done body 0; failed body 0"},
    /* refusals */
    {"MAIL refused, lock step", NO_PIPELINING, 1, 1, BODY, PIPE_EHLO MAIL "S: 550 5.7.1 no\n",
     "ready; done mail 550; ready"},
    {"MAIL refused, pipelined", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 450 later\nS: 503 no mail\nS: 503 no mail\n",
     "ready; done mail 450; ready"},
    {"MAIL refused, and yet 354", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 450 later\nS: 503 no mail\nS: 354 go\nC: .\nS: 554 none\n",
     "ready; done mail 450; ready"},
    {"MAIL refused, but recipients taken, and 354", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 450 later\nS: 250 ok\nS: 354 go\n",
     "ready; done mail 450; failed data 0"},
    {"all recipients refused, lock step: no DATA", NO_PIPELINING, 2, 2, BODY,
     PIPE_EHLO MAIL "S: 250 ok\n" RCPT_A "S: 550 no\n" RCPT_B "S: 450 no\nC: RSET\nS: 250 ok\n" MAIL
                    "S: 421 bye\n",
     "ready; rcpt 0 550; rcpt 1 450; done rcpt 450; ready; done mail 421; failed mail 421"},
    {"all recipients refused, pipelined", 0, 2, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 550 no\nS: 554 no rcpt\nC: RSET\n" MAIL RCPT_A
                           "C: DATA\n",
     "ready; rcpt 0 550; done rcpt 550; ready"},
    {"all recipients refused, and yet 354", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 550 no\nS: 354 go\nC: .\nS: 554 no rcpt\n",
     "ready; rcpt 0 550; done rcpt 550; ready"},
    {"all refused, 354, then lost", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 550 no\nS: 354 go\nC: .\n!lost\n",
     "ready; rcpt 0 550; done rcpt 550; failed data 0"},
    {"DATA refused", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 451 later\n",
     "ready; rcpt 0 250; done data 451; ready"},
    {"DATA answered with success", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\n",
     "ready; rcpt 0 250; done data 0; failed data 0"},
    {"dot refused", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                           "S: 550-5.7.1 spam\nS: 550 5.7.1 really\n",
     "ready; rcpt 0 250; may; done dot 550; ready"},
    {"RSET refused", NO_PIPELINING, 2, 1, BODY,
     PIPE_EHLO MAIL "S: 250 ok\n" RCPT_A "S: 550 no\nC: RSET\nS: 500 what\n",
     "ready; rcpt 0 550; done rcpt 550; ready; done rset 500; failed rset 500"},
    /* permission */
    {"allowed later", ALLOW_LATER, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n!allow\n" BODY_SENT
                           "S: 250 ok\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"denied behind 354", ALLOW_LATER, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n!deny\n",
     "ready; rcpt 0 250; may; done data 0; failed data 0"},
    {"denied before BDAT", ALLOW_LATER, 2, 1, BODY,
     CHUNK_EHLO MAIL RCPT_A "S: 250 ok\nS: 250 ok\n!deny\nC: RSET\n" MAIL RCPT_A
                            "S: 250 ok\nS: 250 ok\nS: 250 ok\n!deny\n",
     "ready; rcpt 0 250; may; done data 0; ready; rcpt 0 250; may; done data 0; ready"},
    {"success before the body is a lie", ALLOW_LATER, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nS: 250 queued\n!allow\n",
     "ready; rcpt 0 250; may; done data 0; failed data 0"},
    {"half a reply before the body", ALLOW_LATER, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A
     "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nS: 250 que%.\n!allow\nC: Subject: x\nC: \nC: hi\n"
     "S: ued\n",
     "ready; rcpt 0 250; may; done body 0; failed body 0"},
    {"421 while permission is awaited", ALLOW_LATER, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nS: 421 bye\n!allow\n",
     "ready; rcpt 0 250; may; done data 421; failed data 421"},
    /* ends of connections */
    {"421 at MAIL", 0, 1, 1, BODY, PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 421 bye\n",
     "ready; done mail 421; failed mail 421"},
    {"421 at RCPT", 0, 1, 2, BODY,
     PIPE_EHLO MAIL RCPT_A RCPT_B "C: DATA\nS: 250 ok\nS: 550 no\nS: 421 bye\n",
     "ready; rcpt 0 550; done rcpt 421; failed rcpt 421"},
    {"421 at the dot", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT "S: 421 bye\n",
     "ready; rcpt 0 250; may; done dot 421; failed dot 421"},
    {"421 when idle", 0, 0, 1, BODY, PIPE_EHLO "!wait\nS: 421 idle too long\n",
     "ready; failed mail 421"},
    {"unasked reply when idle", 0, 0, 1, BODY, PIPE_EHLO "!wait\nS: 250 ok\n",
     "ready; failed mail 0"},
    {"lost at the dot: unknown", 0, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                           "S: 250-queued\n!lost\n",
     "ready; rcpt 0 250; may; done dot 0; failed dot 0"},
    {"timeout at RCPT", 0, 1, 1, BODY, PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\n!timeout\n",
     "ready; done rcpt 0; failed rcpt 0"},
    {"lost in the greeting", 0, 1, 1, BODY, "S: 220%.\n!lost\n", "failed greeting 0"},
    {"lost after QUIT", 0, 0, 1, BODY, PIPE_EHLO "!quit\nC: QUIT\n!lost\n", "ready; failed quit 0"},
    {"quit while a message runs", NO_PIPELINING, 2, 1, BODY,
     PIPE_EHLO MAIL "!quit\nS: 550 no\nC: QUIT\nS: 221 bye\n",
     "ready; done mail 550; failed quit 221"},
    {"freed in done", FREE_IN_DONE, 1, 1, BODY,
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT
                           "S: 250 queued\nS: 250 more\n",
     "ready; rcpt 0 250; may; done dot 250"},
    /* extensions */
    {"SIZE and 8BITMIME", EIGHT_BIT, 1, 1, BODY,
     HELLO "S: 250-x\nS: 250-SIZE 1000\nS: 250 8BITMIME\n"
           "C: MAIL FROM:<s@x.example> SIZE=18 BODY=8BITMIME\nS: 550 no\n",
     "ready; done mail 550; ready"},
    {"too large for the server", 0, 1, 1, BODY, HELLO "S: 250-x\nS: 250 SIZE 17\n",
     "ready; refused SIZE"},
    {"SIZE without a number", 0, 1, 1, BODY,
     HELLO "S: 250-x\nS: 250 SIZE\nC: MAIL FROM:<s@x.example> SIZE=18\n", "ready"},
    {"8-bit body, server without 8BITMIME", EIGHT_BIT, 1, 1, BODY, PLAIN_EHLO,
     "ready; refused 8BITMIME"},
    {"SMTPUTF8", UTF8, 1, 1, BODY,
     HELLO "S: 250-x\nS: 250-8BITMIME\nS: 250 SMTPUTF8\n"
           "C: MAIL FROM:<s\xc3\xb6@x.example> SMTPUTF8\n",
     "ready"},
    {"SMTPUTF8 not offered", UTF8, 1, 1, BODY, PLAIN_EHLO, "ready; refused SMTPUTF8"},
    {"DSN", DSN_WANTED, 1, 1, BODY,
     HELLO "S: 250-x\nS: 250 dsn\nC: MAIL FROM:<s@x.example> RET=HDRS ENVID=QQ314\nS: 250 ok\n"
           "C: RCPT TO:<a@x.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@x.example\n",
     "ready"},
    {"REQUIRETLS goes on", REQUIRETLS, 1, 1, BODY,
     HELLO "S: 250-x\nS: 250 requiretls\nC: MAIL FROM:<s@x.example> REQUIRETLS\n", "ready"},
    {"DSN not offered", DSN_WANTED, 1, 1, BODY, PLAIN_EHLO MAIL "S: 250 ok\n" RCPT_A, "ready"},
    /* LMTP */
    {"LMTP: a reply for each", LMTP, 1, 3, BODY,
     "S: 220 x\nC: LHLO me.example\nS: 250-x\nS: 250 PIPELINING\n" MAIL RCPT_A RCPT_B
     "C: RCPT TO:<c@x.example>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 550 no\nS: 250 ok\nS: 354 "
     "go\n" BODY_SENT "S: 250 done\nS: 452 full\n",
     "ready; rcpt 0 250; rcpt 1 550; rcpt 2 250; may; rcpt_done 0 250; rcpt_done 2 452; "
     "done dot 452; ready"},
    {"LMTP: lost between the replies", LMTP, 1, 3, BODY,
     "S: 220 x\nC: LHLO me.example\nS: 250-x\nS: 250 PIPELINING\n" MAIL RCPT_A RCPT_B
     "C: RCPT TO:<c@x.example>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 550 no\nS: 250 ok\nS: 354 "
     "go\n" BODY_SENT "S: 250 done\n!lost\n",
     "ready; rcpt 0 250; rcpt 1 550; rcpt 2 250; may; rcpt_done 0 250; rcpt_done 2 0; "
     "done dot 0; failed dot 0"},
    {"LMTP: more replies than recipients", LMTP, 1, 1, BODY,
     "S: 220 x\nC: LHLO me.example\nS: 250-x\nS: 250 PIPELINING\n" MAIL RCPT_A
     "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n" BODY_SENT "S: 250 done\n!wait\nS: 250 done\n",
     "ready; rcpt 0 250; may; rcpt_done 0 250; done dot 250; ready; failed mail 0"},
    {"LMTP: 354 for nobody", LMTP, 1, 1, BODY,
     "S: 220 x\nC: LHLO me.example\nS: 250-x\nS: 250 PIPELINING\n" MAIL RCPT_A
     "C: DATA\nS: 250 ok\nS: 550 no\nS: 354 go\n",
     "ready; rcpt 0 550; done rcpt 550; failed data 0"},
    /* TLS */
    {"STARTTLS, and EHLO again", TLS_MAY, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nC: EHLO me.example\n"
           "S: 250-x\nS: 250 SIZE 5\n",
     "starttls; ready"},
    {"clear text behind STARTTLS is dropped", TLS_MUST | TLS_LATER, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nS: 250 injected\n!tls\n"
           "C: EHLO me.example\nS: 250 x\n",
     "starttls; ready"},
    {"TLS wanted, not offered", TLS_MUST, 0, 1, BODY, PLAIN_EHLO, "failed starttls 0"},
    {"TLS wanted, HELO only", TLS_MUST, 0, 1, BODY,
     HELLO "S: 500 what\nC: HELO me.example\nS: 250 x\n", "failed starttls 0"},
    {"TLS wanted, refused", TLS_MUST, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 not now\nC: QUIT\n",
     "failed starttls 454"},
    {"TLS nice, refused", TLS_MAY, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 not now\n", "ready"},
    {"handshake fails", TLS_MAY | TLS_LATER, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n!notls\n",
     "starttls; failed starttls 0"},
    {"TLS from the first byte", TLS_MUST | TLS_WRAPPED, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 STARTTLS\n", "ready"},
    /* AUTH */
    {"AUTH PLAIN", LOGIN_CLEAR, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 AUTH LOGIN PLAIN\nC: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 235 2.7.0 ok\n",
     "ready"},
    {"AUTH PLAIN for a server without initial responses", LOGIN_CLEAR, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 334 PLAIN ok\n"
           "C: AHVzZXIAc2VjcmV0\nS: 235 ok\n",
     "ready"},
    {"AUTH=LOGIN of old", LOGIN_CLEAR, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 AUTH=LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dXNlcg==\n"
           "S: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 235 ok\n",
     "ready"},
    {"AUTH refused", LOGIN_CLEAR, 0, 1, BODY,
     HELLO
     "S: 250-x\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 535 5.7.8 no\nC: QUIT\n",
     "failed auth 535"},
    {"AUTH goes on for ever", LOGIN_CLEAR, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 334 \n"
           "C: AHVzZXIAc2VjcmV0\nS: 334 \nC: *\nS: 501 cancelled\nC: QUIT\n",
     "failed auth 0"},
    {"no login method that we know", LOGIN_CLEAR, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 AUTH GSSAPI\n", "failed auth 0"},
    {"no password in clear", LOGIN, 0, 1, BODY, HELLO "S: 250-x\nS: 250 AUTH PLAIN\n",
     "failed auth 0"},
    {"the password for who proved to be the host", LOGIN | TLS_MUST | TLS_WRAPPED, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 235 2.7.0 ok\n",
     "ready"},
    {"no password for anybody else", LOGIN | TLS_MUST | TLS_WRAPPED | LOGIN_UNVERIFIED, 0, 1, BODY,
     HELLO "S: 250-x\nS: 250 AUTH PLAIN LOGIN\n", "failed auth 0"},
    {"AUTH wanted, not offered", LOGIN_CLEAR, 0, 1, BODY, PLAIN_EHLO, "failed auth 0"},
    /* bodies */
    {"dots are doubled", 0, 1, 1, ".\r\n..\r\nx.\r\n.y\r\n",
     PIPE_EHLO MAIL RCPT_A
     "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: ..\nC: ...\nC: x.\nC: ..y\n"
     "C: .\nS: 250 ok\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"empty body", 0, 1, 1, "",
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: .\nS: 250 ok\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"body without a last CRLF", 0, 1, 1, "a",
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: a\nC: .\nS: 250 ok\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"body that ends in a bare LF", 0, 1, 1, "a\n",
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: a%n\nC: .\nS: 250 ok\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    {"a bare LF smuggles no dot", 0, 1, 1, "a\n.\r\nb\r\n",
     PIPE_EHLO MAIL RCPT_A "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: a%n..\nC: b\nC: .\n"
                           "S: 250 ok\n",
     "ready; rcpt 0 250; may; done dot 250; ready"},
    /* hostile replies */
    {"classes differ within a reply", 0, 1, 1, BODY, "S: 220-x\nS: 554 no\n", "failed greeting 0"},
    {"NUL in a reply", 0, 0, 1, BODY,
     "S: 220 x%0y\nC: EHLO me.example\nS: 250-%0\nS: 250 PIPE%0LINING\n", "ready"},
    {"code without text", 0, 0, 1, BODY, "S: 220\nC: EHLO me.example\nS: 250-\nS: 250\n", "ready"},
    {"no separator", 0, 0, 1, BODY, "S: 220x\n", "failed greeting 0"},
    {"code out of range", 0, 0, 1, BODY, "S: 199 x\n", "failed greeting 0"},
    {"empty line", 0, 0, 1, BODY, "S: \n", "failed greeting 0"},
};

int
main(void)
{
    for (size_t i = 0; i < ARRAY_LEN(dialogues); i++)
        run(&dialogues[i]);
    return tap_done();
}

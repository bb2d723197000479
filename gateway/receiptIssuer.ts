/** From a delivered answer to its receipt: commitments, fee, leaf, and its place in the signed log. @module */

import type { ReceiptLog } from '#node/enclave/receiptLog.ts'
import { toHex } from '#protocol/bytes.ts'
import { hashPriceList } from '#protocol/prices.ts'
import { readAnswer } from '#protocol/receipt/answer.ts'
import { commit } from '#protocol/receipt/commitment.ts'
import {
  hashName,
  hashPrivateReceipt,
  hashPublicReceipt,
  type PrivateReceipt,
  type PublicReceipt,
  RECEIPT_VERSION,
  receiptLeaf,
  ZERO_HASH,
} from '#protocol/receipt/receipt.ts'
import type { Statement } from '#protocol/wire/agentApi.ts'
import type { ReceiptMessage } from '#protocol/wire/receiptFile.ts'
import type { AnswerRecord } from './answerRecord.ts'

export type ReceiptIssuer = {
  /** Issues the receipt of an answer. `nowSeconds` since the epoch. Throws `ReceiptLogError`. */
  issue(record: AnswerRecord, nowSeconds: number): Promise<ReceiptMessage>
}

export function createReceiptIssuer(statement: Statement, priceList: string, log: ReceiptLog): ReceiptIssuer {
  const prices = hashPriceList(priceList)
  return {
    async issue(record, nowSeconds) {
      const { model, requestBody, nonce, binding } = record.context
      const { encapsulatedHash, salts } = await binding
      const body = record.body
      const { output, toolCalls } = readAnswer(body, record.contentType)
      const usage = record.usage
      const publicHalf: PublicReceipt = {
        version: RECEIPT_VERSION,
        enclave: statement.enclave,
        model: hashName(model.model),
        source: model.source,
        origin: model.origin === undefined ? ZERO_HASH : hashName(model.origin),
        request: toHex(commit('request', salts.request, requestBody)),
        output: toHex(commit('output', salts.output, output)),
        nonce: toHex(commit('nonce', salts.nonce, nonce)),
        outcome: record.outcome,
      }
      const privateHalf: PrivateReceipt = {
        promptTokens: BigInt(usage.promptTokens),
        completionTokens: BigInt(usage.completionTokens),
        prices,
        fee: record.fee,
        hour: BigInt(Math.floor(nowSeconds / 3600)),
        encapsulated: toHex(encapsulatedHash),
        toolCalls: toHex(commit('toolCalls', salts.toolCalls, toolCalls)),
        response: toHex(commit('response', salts.response, body)),
      }
      const leaf = receiptLeaf(hashPublicReceipt(publicHalf), hashPrivateReceipt(privateHalf))
      const { index, head, path } = await log.issue(leaf, privateHalf.fee)
      const { chainId, registry, settlement } = statement
      return {
        format: 'sealpath-receipt/1',
        chainId,
        registry,
        settlement,
        public: publicHalf,
        private: privateHalf,
        index,
        head,
        path,
      }
    },
  }
}
